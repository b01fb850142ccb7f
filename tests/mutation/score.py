"""Mutation testing: `make mutants`, or `make mutants ROOM=store/jdq/store/spaces` for one folder or file.

mutmut changes the sources one place at a time; the tests that run the changed function are run, and a change that no
test notices survives. The survivors' diffs stay in .mutants/.
"""

import argparse
import ast
import difflib
import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from types import FunctionType

import coverage
import msgspec
import pytest
from mutmut.mutation.file_mutation import create_mutations, deep_replace

from tests.mutation.equivalent import equivalents, is_listed
from tests.mutation.forks import answers, fails, must_pass, with_collected
from tests.mutation.inside import sitecustomize

PROJECT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "inside"
# The folders that are scored, each with the tests nearest to it; of these a mutant runs those that reach it.
ROOMS = {
    "cli/jdq/cli/submit": ["tests/cli/test_submit*.py", "tests/cli/test_find_*.py", "tests/cli/test_split.py"],
    "cli/jdq/cli/web": ["tests/web/test_[!b]*.py"],
    "store/jdq/store/datasets": ["tests/store/test_datasets*.py", "tests/store/test_splits.py"],
    "store/jdq/store/spaces": [
        f"tests/store/test_{name}.py" for name in ["co*", "f*", "garbage", "index", "reading", "space*", "verify"]
    ],
    "store/jdq/store/table": ["tests/store/test_table*.py"],
    "worker/jdq/worker/encoder": ["tests/encoder"],
    "worker/jdq/worker/heads": ["tests/heads", "tests/cli/test_split.py"],
    "worker/jdq/worker/jobs": ["tests/jobs"],
    "worker/jdq/worker/process": [
        "tests/process",
        "tests/jobs/test_chunk_loop*.py",
        "tests/monitoring",
        "tests/queue/archive",
        "tests/queue/test_notices.py",
    ],
    "worker/jdq/worker/queue": [
        "tests/queue",
        "tests/jobs/test_chunk_loop*.py",
        "tests/cli/test_exit_codes.py",
        "tests/client/test_precision.py",
    ],
}
LEAST = 0.85
# The tests of one mutant, fastest first, take no longer than this in all: a survivor must not cost a run of its room.
BUDGET_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of a function: its name in its module, its lines, and the first of them that changed."""

    path: Path
    source: str
    module: str
    function: str
    lines: range
    line: int
    diff: tuple[str, ...] = ()

    @property
    def becomes(self) -> str:
        """The lines that it puts in, without their indentation."""
        return " ".join(line[1:].strip() for line in self.diff if line.startswith("+"))

    @property
    def qualified_name(self) -> str:
        """The function with its module, as equivalent.toml names it."""
        return f"{self.module}.{self.function}"


class Control(msgspec.Struct):
    """A run of the tests without a mutant: how long each takes, and the tests that run each line."""

    seconds: dict[str, float]
    tests_of: dict[str, dict[int, list[str]]]  # by file and line

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run the mutant's function, first those that run its line, the fastest first, within the budget.

        Where none does in the tests' own process: the tests in the file that is named for the module.
        """
        tests_of = self.tests_of.get(str(mutant.path), {})
        reach = {test for line in mutant.lines for test in tests_of.get(line, ())}
        named = f"/test_{mutant.module.rpartition('.')[2]}.py::"
        reach = reach or {test for test in self.seconds if named in test}
        nearest = set(tests_of.get(mutant.line, ()))
        left = BUDGET_S
        kept: list[str] = []
        for test in sorted(reach, key=lambda test: (test not in nearest, self.seconds[test])):
            left -= self.seconds[test]
            if left > 0 or not kept:
                kept.append(test)
        return kept


@dataclass(slots=True)
class Score:
    """What became of the mutants of one room."""

    killed: int = 0
    equivalent: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Killed mutants among those that change what the code does, 0.0 to 1.0."""
        return self.killed / (self.killed + len(self.survivors)) if self.killed or self.survivors else 1.0


def main(arguments: list[str] | None = None) -> int:
    """Print a line per room; the exit code says whether all of them reach the least score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.score", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"folder or file in one of: {', '.join(ROOMS)}")
    parser.add_argument("--children", type=int, default=os.cpu_count(), help="mutants tested at the same time")
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="as many mutants of each file, at random")
    options = parser.parse_args(arguments)
    os.chdir(PROJECT)
    os.environ |= {"PYTHONPATH": str(INSIDE), "OMP_NUM_THREADS": "1"}
    scores = []
    for folder, rooms in by_folder(options.rooms or ROOMS).items():
        scores += tested(folder, rooms, options.children, options.sample)
    return int(any(score.share < LEAST for score in scores))


def by_folder(rooms: Iterable[str]) -> dict[str, list[str]]:
    """The rooms by the folder whose tests are theirs."""
    folders: dict[str, list[str]] = {}
    for room in (room.rstrip("/") for room in rooms):
        folder = next((folder for folder in ROOMS if room == folder or room.startswith(f"{folder}/")), None)
        if folder is None or not (PROJECT / room).exists():
            raise SystemExit(f"{room} is not in one of {', '.join(ROOMS)}")
        folders.setdefault(folder, []).append(room)
    return folders


def tested(folder: str, rooms: list[str], children: int, sample: int) -> list[Score]:
    """Tests the mutants of these files of a folder, or of the folder itself, and prints the scores."""
    files = [str(file) for pattern in ROOMS[folder] for file in sorted(PROJECT.glob(pattern))]
    listed, scores = equivalents(), []

    def work(session: pytest.Session) -> None:
        control = Recorder(PROJECT / folder).control(session)
        for room in rooms:
            score, began = Score(), time.monotonic()
            for path in [PROJECT / room] if room.endswith(".py") else sorted((PROJECT / room).rglob("*.py")):
                every = list(mutants(path))
                every = random.Random(0).sample(every, min(sample, len(every)))
                pending = [mutant for mutant in every if not is_listed(mutant.qualified_name, mutant.becomes, listed)]
                score.equivalent += len(every) - len(pending)
                for mutant, killed in outcomes(session, pending, control, children):
                    score.killed += killed
                    score.survivors += [] if killed else [mutant]
            report(room, score, time.monotonic() - began)
            scores.append(score)

    with_collected(files, work)
    return scores


def report(room: str, score: Score, seconds: float) -> None:
    """Prints the score, and writes the survivors' diffs."""
    print(  # noqa: T201
        f"{room}: {score.share:.2f} ({score.killed} killed, {len(score.survivors)} survived, "
        f"{score.equivalent} equivalent; {seconds:.0f} s)",
        flush=True,
    )
    diffs = "\n".join("\n".join([f"# {mutant.qualified_name}", *mutant.diff, ""]) for mutant in score.survivors)
    (PROJECT / ".mutants" / f"{room.replace('/', '.')}.diff").write_text(diffs, encoding="utf-8")


def mutants(path: Path) -> Iterator[Mutant]:
    """All changes of the file that mutmut knows, inside functions."""
    code = path.read_text(encoding="utf-8")
    tree, mutations, _, _ = create_mutations(str(path), code)
    module = ".".join(path.relative_to(PROJECT).with_suffix("").parts[1:])
    for mutation in mutations:
        source = deep_replace(tree, mutation.original_node, mutation.mutated_node).code  # type: ignore[union-attr]
        old, new = code.splitlines(), source.splitlines()
        line = next(n for n, (a, b) in enumerate(zip_longest(old, new), 1) if a != b)
        function, lines = function_at(code, line)
        if mutation.contained_by_top_level_function is not None and function:
            diff = tuple(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
            yield Mutant(path=path, source=source, module=module, function=function, lines=lines, line=line, diff=diff)


def function_at(code: str, line: int) -> tuple[str, range]:
    """Name and lines of the function or method at the line; no name where there is none."""
    name, body = "", ast.parse(code).body
    while True:
        node = next((node for node in body if node.lineno <= line <= (node.end_lineno or 0)), None)
        if isinstance(node, ast.FunctionDef):
            return f"{name}{node.name}", range(node.body[0].lineno, (node.end_lineno or 0) + 1)
        if not isinstance(node, ast.ClassDef):
            return "", range(0)
        name, body = f"{name}{node.name}.", node.body


class Recorder:
    """A pytest plugin that measures a run without a mutant."""

    def __init__(self, folder: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(data_file=None, include=[f"{folder}/*"], config_file=False)
        self._coverage.set_option("run:disable_warnings", ["no-data-collected"])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Times a test with its fixtures, and counts the lines that it runs as its own."""
        self._coverage.switch_context(item.nodeid)
        began = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - began
        return result

    def control(self, session: pytest.Session) -> Control:
        """Runs all tests in a fork, where they must pass."""
        with tempfile.NamedTemporaryFile() as result:
            must_pass(lambda: self._run(session, Path(result.name)))
            return msgspec.json.decode(result.read(), type=Control)

    def _run(self, session: pytest.Session, result: Path) -> bool:
        session.config.pluginmanager.register(self)
        self._coverage.start()
        failed = fails(session, session.items)
        self._coverage.stop()
        data = self._coverage.get_data()
        tests_of = {file: data.contexts_by_lineno(file) for file in data.measured_files()}
        result.write_bytes(msgspec.json.encode(Control(seconds=self.seconds, tests_of=tests_of)))
        return failed


def outcomes(
    session: pytest.Session, pending: list[Mutant], control: Control, children: int
) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether a test noticed it. The first one's function as it is, put in as a mutant, must pass."""
    items = {item.nodeid: item for item in session.items}
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:

        def call(mutant: Mutant) -> tuple[Mutant, Callable[[], bool], float]:
            tests = control.tests(mutant)

            def work() -> bool:
                substitute(mutant, Path(folder) / f"{os.getpid()}.py")
                return fails(session, [items[test] for test in tests])

            return mutant, work, 15 + 5 * sum(control.seconds[test] for test in tests)

        for mutant in pending[:1]:
            must_pass(call(replace(mutant, source=mutant.path.read_text(encoding="utf-8")))[1])
        yield from answers(map(call, pending), children)


def functions_of(path: Path, name: str) -> list[FunctionType]:
    """The live functions of the file that have this qualified name, or are inside of one that has it."""
    functions = (found for found in gc.get_objects() if type(found) is FunctionType)
    functions = (function for function in functions if function.__code__.co_filename == str(path))
    return [function for function in functions if f"{function.__qualname__}.".startswith(f"{name}.")]


def substitute(mutant: Mutant, file: Path) -> None:
    """Lets the function of this process, and of the processes that it starts, be the mutant."""
    path = mutant.path
    file.write_text(mutant.source, encoding="utf-8")
    os.environ |= {sitecustomize.MUTATED: str(path), sitecustomize.MUTANT: str(file)}
    originals = functions_of(path, mutant.function)
    namespace = {"__name__": mutant.module, "__file__": str(path)}
    exec(compile(mutant.source, str(path), "exec", dont_inherit=True), namespace)
    mutated = {
        function.__qualname__: function
        for function in functions_of(path, mutant.function)
        if function.__globals__ is namespace
    }
    for original in originals:
        changed = mutated[original.__qualname__]
        original.__code__ = changed.__code__
        original.__defaults__, original.__kwdefaults__ = changed.__defaults__, changed.__kwdefaults__


if __name__ == "__main__":
    sys.exit(main())
