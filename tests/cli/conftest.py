"""The `jdq` command in this process, on a Redis and a store of the test's own; workers work on demand."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jdq.cli.main import cli
from tests.jobs.conftest import Workplace, workplace

__all__ = ["workplace"]

TABLE = "text,label\n" + "".join(f"text number {n} of {'ab'[n % 2]},{'ab'[n % 2]}\n" for n in range(40))


@dataclass(frozen=True)
class CommandLine:
    """`jdq` with this workplace's environment."""

    workplace: Workplace
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> Result:
        """The finished command, which must end with this exit code and, where that is not 0, say why."""
        found = self.run_to_any_end(*arguments)
        assert found.exit_code == code, f"{arguments}: {found.exit_code}\n{found.output}\n{found.exception!r}"
        assert code == 0 or found.stderr
        return found

    def run_to_any_end(self, *arguments: str) -> Result:
        """The finished command, whatever its exit code."""
        return CliRunner().invoke(cli, arguments, env={**self.workplace.environment, **self.settings})

    def json(self, *arguments: str) -> Any:
        """What the command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def submit(self, *arguments: str) -> str:
        """The id of the submitted job: the whole standard output."""
        [job] = self.run("submit", *arguments).stdout.split()
        return job

    def file(self, content: str = TABLE, name: str = "table.csv") -> str:
        """The path of a file with this content."""
        path = Path(self.workplace.folder / name)
        path.write_text(content, encoding="utf-8")
        return str(path)

    def extracted(self, content: str = TABLE, name: str = "table.csv") -> str:
        """The id of an extraction that has succeeded."""
        job = self.submit("extract", self.file(content, name), "--encoder", "hash:16")
        assert self.workplace.worked(job).state == "succeeded"
        return job

    def trained(self, *arguments: str) -> str:
        """The id of a head that has been trained on the dataset extracted last."""
        job = self.submit("train-head", *arguments)
        assert self.workplace.worked(job).state == "succeeded"
        return job


@pytest.fixture
def jdq(workplace: Workplace) -> CommandLine:
    return CommandLine(workplace)
