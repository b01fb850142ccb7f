"""A store in a folder of the host: the host's own jdq, and two users of one group."""

import csv
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.conftest import PASSWORD
from tests.compose.stack import CPU_FILES, Stack, recipe

pytestmark = [
    pytest.mark.compose,
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="makes folders for other users, which takes root"),
]
GROUP, ALICE, BOB = 54_000, 54_001, 54_002


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, stack: Stack, folder: Path) -> Path:
    """The documentation's /srv/jdq: its folders belong to the group, and `models` has the encoder as `my-bart`."""
    root = tmp_path_factory.mktemp("srv")
    for name in ("store", "hub", "models"):
        (root / name).mkdir()
        os.chown(root / name, 10_001, GROUP)
        (root / name).chmod(0o2770 if name != "models" else 0o755)
    (root / "models" / "my-bart").mkdir()
    for file in (folder / "models" / "tiny").iterdir():
        (root / "models" / "my-bart" / file.name).write_bytes(file.read_bytes())
    return root


@pytest.fixture(scope="module")
def shared(stack: Stack, settings: dict[str, str], folder: Path, root: Path) -> Iterator[tuple[Stack, str]]:
    """A stack with the settings of the documentation, and the port of its Redis."""
    lines = recipe("the host's .env").replace("/srv/jdq", str(root)).splitlines()
    typed = dict(line.split("=", 1) for line in lines) | {"JDQ_UID": "10001", "JDQ_GID": str(GROUP)}
    files = (*CPU_FILES, typed.pop("COMPOSE_FILE").rpartition(":")[2])
    port = free_port()
    shared = Stack(f"jdq-test-{secrets.token_hex(4)}", folder, settings | typed | {"JDQ_REDIS_PORT": port}, files)
    try:
        shared.compose("up", "-d", "--no-build", "redis", "gpu-worker", "cpu-worker")
        yield shared, port
    finally:
        shared.remove()
        assert shared.leftovers() == []


def test_the_hosts_own_jdq_uses_the_stack(shared: tuple[Stack, str], folder: Path, root: Path, tmp_path: Path) -> None:
    stack, port = shared
    (tmp_path / "postings.csv").write_bytes((folder / "data" / "few.csv").read_bytes())
    script = recipe("the host's jdq").replace("/srv/jdq", str(root)).replace("PASSWORD", PASSWORD).replace("6379", port)
    done = stack.typed(script, folder=tmp_path, JDQ_HOME=str(tmp_path / "home"))
    assert len([line for line in done.stdout.splitlines() if line.startswith(("0.", "1."))]) > 1  # probabilities
    assert {job["spec"].get("encoder") for job in stack.ask("jobs") if job["kind"] == "extract"} == {"/models/my-bart"}


def test_two_users_of_the_group_work_on_one_dataset(shared: tuple[Stack, str], folder: Path, root: Path) -> None:
    stack, _ = shared
    table = folder / "data" / "group.csv"
    for user in (ALICE, BOB):  # the second imports the same version, and adds its own record
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL if user == BOB else csv.QUOTE_MINIMAL)
            writer.writerows([["text", "label"], *([f"{n} of {'ab'[n % 2]}", "ab"[n % 2]] for n in range(40))])
        as_user = ("run", "--rm", "-T", "--user", f"{user}:{GROUP}", "jdq")
        stack.compose(*as_user, "submit", "extract", "/data/group.csv", "--encoder", "hash:16", "--wait")
        stack.compose(*as_user, "submit", "train-head", "group", "--head", "logreg", "--wait")
    made = list((root / "store").rglob("*"))
    assert {10_001, ALICE, BOB} <= {path.stat().st_uid for path in made}
    assert {path.stat().st_gid for path in made} == {GROUP}
