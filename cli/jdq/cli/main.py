"""The `jdq` command: its commands by section, and the border where errors become messages and exit codes."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from jdq.cli.client import BadRequest
from jdq.cli.doctor import doctor
from jdq.cli.jobs import commands as jobs
from jdq.cli.jobs.history import recover
from jdq.cli.jobs.logs import logs
from jdq.cli.jobs.top import top
from jdq.cli.jobs.usage import usage
from jdq.cli.output import say
from jdq.cli.programs import ProgramFailed
from jdq.cli.run import run
from jdq.cli.stack import commands as stack
from jdq.cli.stack.errors import StackError
from jdq.cli.stack.settings import config
from jdq.cli.stack.worker import worker
from jdq.cli.store import store
from jdq.cli.submit import submit
from jdq.cli.submit.evaluating import evaluate
from jdq.cli.submit.importing import import_table
from jdq.cli.trained.compare import compare
from jdq.cli.trained.heads import heads
from jdq.cli.trained.model import model
from jdq.cli.trained.models import models
from jdq.cli.trained.predict import predict
from jdq.cli.trained.report import report
from jdq.cli.trained.similar import similar
from jdq.cli.web.command import web
from jdq.store.errors import StoreError
from jdq.store.location import share_with_group, store_root
from jdq.worker.config import unknown_variables
from jdq.worker.queue.exit_codes import ExitCode, exit_on_error


class Sections(click.Group):
    """A group whose help lists its commands by section, and which turns errors into messages and exit codes."""

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    @exit_on_error({BadRequest: ExitCode.BAD_INPUT, StackError: ExitCode.NO_STACK})
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProgramFailed as failed:
            sys.exit(failed.code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, commands in self._sections.items():
            with formatter.section(title):
                limit = formatter.width - formatter.current_indent - width - 2
                rows = [((command.name or "").ljust(width), command.get_short_help_str(limit)) for command in commands]
                formatter.write_dl(rows)


@click.group(
    cls=Sections,
    sections={
        "Submit": (run, submit, import_table, model),
        "Jobs": (jobs.jobs, jobs.status, jobs.watch, logs, jobs.cancel, jobs.retry, jobs.failed, usage, recover),
        "Results": (jobs.result, heads, models, compare, report, predict, evaluate, similar),
        "Store": (store,),
        "Stack": (stack.up, stack.down, worker, stack.workers, top, web, doctor, config),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"Exit codes: {', '.join(f'{code:d} {code.meaning}' for code in ExitCode)}.",
)
@click.version_option(package_name="jdq")
def cli() -> None:
    """Classify texts with BART: compute features on GPU workers, train heads on them, or fine-tune.

    \b
    jdq run data.csv                        all of it: features, heads, a report in one folder

    \b
    Step by step:
    jdq up                                  start Redis and workers on this machine
    jdq submit extract data.csv --wait      compute the features of the texts in data.csv
    jdq submit train-head --wait            train a head on the dataset extracted last
    jdq result JOB                          print the result
    """
    for warning in unknown_variables(os.environ):
        say(f"warning: {warning}", err=True)
    with suppress(StoreError):  # the command says so
        share_with_group(store_root())


def main() -> None:
    """The entry point of the `jdq` script."""
    sys.exit(cli())
