"""Mutation testing with mutmut: `make mutants`, or `make mutants ROOM=store/jdq/store/spaces` for one folder or file.

mutmut changes the sources one place at a time and runs the tests that reach the changed function; a change that no
test notices survives. It knows one source root and the project has three, so each room is tested in a copy of the
project whose `src/jdq` holds all three. The copy stays in .mutants/, with the survivors' diffs in survivors.diff.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOTS = ("store/jdq", "worker/jdq", "cli/jdq")
# The folders that are scored, each with the tests nearest to it; of these a mutant runs those that reach it.
ROOMS = {
    "store/jdq/store/datasets": ["tests/store/test_datasets*.py", "tests/store/test_splits.py"],
    "store/jdq/store/spaces": [
        "tests/store/test_features.py",
        "tests/store/test_format.py",
        "tests/store/test_index.py",
        "tests/store/test_maintenance.py",
        "tests/store/test_space*.py",
    ],
    "store/jdq/store/table": ["tests/store/test_table*.py"],
    "worker/jdq/worker/encoder": ["tests/encoder"],
    "worker/jdq/worker/heads": ["tests/heads"],
    "worker/jdq/worker/process": ["tests/process", "tests/jobs/test_chunk_loop.py", "tests/monitoring"],
    "worker/jdq/worker/queue": ["tests/queue", "tests/jobs/test_chunk_loop.py"],
}
LEAST = 0.85
# What mutmut's exit codes mean: pytest failed, crashed, or ran out of time; else the mutant survived.
KILLED = {1, 3, 24, 36, 152, 255, -24, -11, -9, -6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What became of the mutants of one room."""

    killed: int
    survived: int
    equivalent: int
    wall_s: float

    @property
    def share(self) -> float:
        """Killed mutants among those that change what the code does, 0.0 to 1.0."""
        return self.killed / max(1, self.killed + self.survived)


def main(arguments: list[str] | None = None) -> int:
    """Print a line per room; the exit code says whether all of them reach the least score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.score", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"folder or file in one of: {', '.join(ROOMS)}")
    parser.add_argument("--children", type=int, default=os.cpu_count(), help="mutants tested at the same time")
    options = parser.parse_args(arguments)
    scores = []
    for room in options.rooms or ROOMS:
        scores.append(score := tested(room.rstrip("/"), options.children))
        print(  # noqa: T201
            f"{room}: {score.share:.2f} ({score.killed} killed, {score.survived} survived, "
            f"{score.equivalent} equivalent; {score.wall_s:.0f} s)",
            flush=True,
        )
    return int(any(score.share < LEAST for score in scores))


def tested(room: str, children: int) -> Score:
    """Test all mutants of a room, or of a file in it."""
    folder = next((folder for folder in ROOMS if room == folder or room.startswith(f"{folder}/")), None)
    if folder is None or not (PROJECT / room).exists():
        raise SystemExit(f"{room} is not in one of {', '.join(ROOMS)}")
    stage = copied(PROJECT / ".mutants" / room.replace("/", "."))
    tests = [str(file.relative_to(stage)) for pattern in ROOMS[folder] for file in sorted(stage.glob(pattern))]
    configure(stage, room, tests)
    began = time.monotonic()
    run_mutmut(stage, children)
    return counted(stage, time.monotonic() - began)


def copied(stage: Path) -> Path:
    """A fresh copy of the project's files, tracked or new, with all three source roots in src."""
    shutil.rmtree(stage, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        target = stage / in_one_root(name)
        if (PROJECT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target)
    (stage / "mutants" / "src").mkdir(parents=True)  # Python remembers of sys.path what was not there at its start
    return stage


def in_one_root(path: str) -> str:
    """Where a file of the project is in its copy."""
    for root in ROOTS:
        if path.startswith(f"{root}/"):
            return f"src/jdq/{path.removeprefix(root + '/')}"
    return path


def configure(stage: Path, room: str, tests: list[str]) -> None:
    """Add mutmut's settings to the copy's pyproject.toml."""
    mutated = in_one_root(f"{room}/") + "*" if (PROJECT / room).is_dir() else in_one_root(room)
    others = sorted(entry.name for entry in stage.iterdir() if entry.name not in ("src", "pyproject.toml", "tests"))
    settings = {
        "source_paths": ["src"],
        "only_mutate": [mutated],
        "also_copy": others,
        "pytest_add_cli_args_test_selection": tests,
        # Examples that are always the same: a mutant is killed in every run or in none.
        "pytest_add_cli_args": [
            "-p",
            "no:cacheprovider",
            "-p",
            "fastest_first",
            "--hypothesis-seed=0",
            "-m",
            "not slow",
        ],
        # torch's threads do not survive a fork of the process that has run tests.
        "process_isolation": "forkserver",
        "timeout_multiplier": 5.0,
        "timeout_constant": 2.0,
        "use_git_change_detection": False,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    with (stage / "pyproject.toml").open("a", encoding="utf-8") as stream:
        stream.write("\n".join(["", "[tool.mutmut]", *lines, ""]))


def run_mutmut(stage: Path, children: int) -> None:
    """Run it in a process group of its own, which ends with it: servers of tests that ran out of time stay behind."""
    paths = [str(stage / "tests" / "mutation" / "inside"), str(stage / "mutants" / "src")]
    program = "from mutmut.__main__ import cli; cli()"
    command = [sys.executable, "-c", program, "run", "--max-children", str(children)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with (stage / "mutmut.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=stage,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        said = (stage / "mutmut.log").read_text(errors="replace")
        raise SystemExit(f"{said[-4000:]}\nmutmut ended with {code}; all that it said: {stage / 'mutmut.log'}")


def counted(stage: Path, wall_s: float) -> Score:
    """The score of what mutmut has written down; the survivors' diffs go to survivors.diff."""
    killed = equivalent = 0
    survivors = []
    listed = equivalents()
    for name, code, diff in results(stage):
        if code in KILLED:
            killed += 1
        elif (name.partition("__mutmut_")[0], added_line(diff)) in listed:
            equivalent += 1
        else:
            survivors.append(f"# {name}\n{diff}\n")
    (stage / "survivors.diff").write_text("\n".join(survivors), encoding="utf-8")
    return Score(killed=killed, survived=len(survivors), equivalent=equivalent, wall_s=wall_s)


def results(stage: Path) -> Iterator[tuple[str, int | None, str]]:
    """(name, exit code, diff) of each mutant; no diff of those that were killed."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    with contextlib.chdir(stage):
        for meta in sorted(Path("mutants/src").rglob("*.meta")):
            source = meta.relative_to("mutants").with_suffix("")
            for name, code in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
                yield name, code, "" if code in KILLED else get_diff_for_mutant(name, path=source)


def added_line(diff: str) -> str:
    """The lines that the mutant puts in, without their indentation."""
    added = [line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(added)


def equivalents() -> set[tuple[str, str]]:
    """(function, line as the mutant has it) of the mutants that behave as the original does."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))
    return {(mutant["function"], mutant["becomes"]) for mutant in listed.get("mutant", [])}


if __name__ == "__main__":
    sys.exit(main())
