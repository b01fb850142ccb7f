"""Two users of one group share a store: each can work on what the other has made."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jdq.store.location import share_with_group

GROUP, ALICE, BOB = 54_000, 54_001, 54_002

# Root's Python may be in a folder that no other user can read: all is imported by a first run, elsewhere.
AS_USER = """
import os, sys, tempfile
from jdq.cli.main import cli
user, group, file, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
with tempfile.TemporaryDirectory() as elsewhere:
    os.environ["JDQ_STORE"] = elsewhere + "/store"
    cli(["import", file], standalone_mode=False)
os.environ["JDQ_STORE"] = store
os.setgroups([group])
os.setgid(user)
os.setuid(user)
cli(["import", file], standalone_mode=False)
"""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def shared(folder: Path) -> Path:
    """The store's folder, as the documentation makes it."""
    store = folder / "store"
    store.mkdir()
    os.chown(store, 0, GROUP)
    store.chmod(0o2770)
    return store


def imported(user: int, store: Path, table: str) -> subprocess.CompletedProcess[str]:
    """The command of a user whose own group is another one, and whose umask allows the group nothing."""
    home = store.parent / f"home-{user}"
    home.mkdir(exist_ok=True)
    os.chown(home, user, user)
    file = home / "data.csv"
    file.write_text(table)
    file.chmod(0o644)
    environment = {**os.environ, "HOME": str(home), "JDQ_HOME": str(home / "jdq"), "JDQ_STORE": str(store)}
    return subprocess.run(
        [sys.executable, "-c", AS_USER, str(user), str(GROUP), str(file), str(store)],
        umask=0o077,
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_root
def test_a_second_user_writes_into_the_first_one_s_datasets(shared: Path) -> None:
    # The second import is the same version, and adds its own record to the first user's folder.
    for user, table in ((ALICE, "text,label\na,x\nb,y\n"), (BOB, 'text,label\n"a","x"\n"b","y"\n'), (BOB, "text\nc\n")):
        done = imported(user, shared, table)
        assert done.returncode == 0, done.stderr
    made = list(shared.rglob("*"))
    assert {path.stat().st_uid for path in made} == {ALICE, BOB}
    for path in made:
        entry = path.stat()
        assert entry.st_gid == GROUP, path
        assert entry.st_mode & stat.S_IWGRP, path
        assert path.is_file() or entry.st_mode & stat.S_ISGID, path


@pytest.mark.parametrize(
    ("mode", "umask"), [(0o2770, 0o007), (0o2775, 0o007), (0o770, 0o077), (0o2750, 0o077), (0o750, 0o077)]
)
def test_only_a_folder_that_is_made_for_a_group_opens_the_umask(folder: Path, mode: int, umask: int) -> None:
    store = folder / "store"
    store.mkdir()
    store.chmod(mode)
    before = os.umask(0o077)
    try:
        share_with_group(folder / "nothing")
        share_with_group(store)
        assert os.umask(0o077) == umask
    finally:
        os.umask(before)


def test_a_worker_shares_what_it_writes_however_it_is_started(folder: Path) -> None:
    store = folder / "store"
    store.mkdir()
    store.chmod(0o2770)
    program = (
        "import os\nfrom types import SimpleNamespace as N\nfrom jdq.worker import app\n"
        "queues = N(queues=N(consume_from=[]))\n"
        "try:\n    app._register(N(app=N(amqp=queues)))\nexcept SystemExit:\n    print(oct(os.umask(0)))\n"
    )
    environment = {**os.environ, "JDQ_HOME": str(folder), "JDQ_STORE": str(store)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, umask=0o077, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0o7"
