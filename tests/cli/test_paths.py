"""What a command may write is known before the job runs, and what the workers see before it is submitted."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jdq.cli.client import BadRequest
from jdq.cli.paths import seen_by_workers
from tests.cli.conftest import CommandLine

ALICE = 54_001
# As a user without root's rights: imported before, because root's Python may be where no other user can read.
AS_USER = """
import os, sys
from jdq.cli.client import BadRequest
from jdq.cli.jobs.tables import Target
from pathlib import Path
import jdq.store.table.written
if os.getuid() == 0:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    Target(path=Path(sys.argv[1])).check()
except BadRequest as error:
    print(error)
"""


def test_a_folder_of_someone_else_is_refused_with_its_owner() -> None:
    with tempfile.TemporaryDirectory(prefix="jdq-") as name:
        folder = Path(name)
        folder.chmod(0o555)
        command = [sys.executable, "-c", AS_USER, str(folder / "out.csv"), str(ALICE)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        user, owner, group = ALICE if os.getuid() == 0 else os.getuid(), os.getuid(), folder.stat().st_gid
        todo = f"JDQ_UID={owner} and JDQ_GID={group} in .env" if owner else f"chown {user} on its folder"
        assert said.splitlines() == [
            f"the folder {folder} belongs to user {owner}, group {group}, and this user {user} may not write there",
            f"  try: another folder, or with Compose {todo}",
        ]
        if owner == 0:
            os.chown(folder, ALICE + 1, ALICE + 2)
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert said.endswith(f"or with Compose JDQ_UID={ALICE + 1} and JDQ_GID={ALICE + 2} in .env\n")
        folder.chmod(0o777)
        assert not subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_before_a_job_is_submitted_its_target_is_checked(jdq: CommandLine) -> None:
    jdq.extracted()
    head, nowhere = jdq.trained(), str(jdq.workplace.folder / "nowhere" / "out.csv")
    for command in (
        ["submit", "predict", "table", "--head", head, "--to"],
        ["report", head, "-o"],
        ["compare", "--to"],
    ):
        assert "no folder" in jdq.run(*command, nowhere, *["table"] * (command[0] == "compare"), code=2).stderr
    assert "is a folder" in jdq.run("report", head, "-o", str(jdq.workplace.folder), code=2).stderr
    assert [job.kind for job in jdq.workplace.jobbook.jobs()] == ["train-head", "extract"]


@pytest.mark.parametrize(
    ("mounts", "seen"),
    [
        ("", "/srv/models/mine"),
        ("/srv/models", "/srv/models/mine"),
        ("/data, /srv/models=/models", "/models/mine"),
        ("/srv=/s", "/s/models/mine"),
    ],
)
def test_a_folder_is_named_as_the_workers_see_it(mounts: str, seen: str) -> None:
    assert seen_by_workers(Path("/srv/models/mine"), mounts) == seen


def test_a_folder_that_only_the_client_sees_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        seen_by_workers(Path("/data/mine"), "/models,/srv/more=/more")
    assert str(refused.value).splitlines() == [
        "the workers do not see /data/mine; they see /models, /more (/srv/more here)",
        "  try: copy it there, then --encoder /models/mine",
    ]


def test_an_encoder_s_folder_is_submitted_as_the_workers_see_it(jdq: CommandLine) -> None:
    folder = jdq.workplace.folder / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    mapped = CommandLine(jdq.workplace, {"JDQ_WORKER_FOLDERS": f"{folder.parent}=/models"})
    job = mapped.submit("extract", jdq.file(), "--encoder", str(folder))
    assert mapped.json("status", job)["spec"]["encoder"] == "/models/mine"
    other = CommandLine(jdq.workplace, {"JDQ_WORKER_FOLDERS": "/models"})
    error = other.run("submit", "extract", jdq.file(), "--encoder", str(folder), code=2).stderr
    assert f"the workers do not see {folder}; they see /models" in error
