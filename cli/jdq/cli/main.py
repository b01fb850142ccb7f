"""The `jdq` command: its groups and commands, and the border where errors become messages and exit codes."""

from __future__ import annotations

import sys
from typing import Any

import click

from jdq.cli import store, submit
from jdq.cli.exits import Exit, exit_of, message_of
from jdq.cli.jobs import commands as job_commands
from jdq.cli.jobs import logs, top
from jdq.cli.stack import commands as stack_commands
from jdq.cli.trained import compare, heads, model, models, predict, report


class _Border(click.Group):
    """Turns the errors that users may see into a message on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except Exception as error:
            code = exit_of(error)
            if code is None:
                raise
            click.echo(f"jdq: {message_of(error)}", err=True)
            ctx.exit(code)


@click.group(
    cls=_Border,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 succeeded, 1 the job failed, 2 wrong input, 3 no Redis or workers, 4 unknown job.",
)
@click.version_option(package_name="jdq")
def cli() -> None:
    """Classify texts with BART: features computed once on GPU workers, heads and fine-tunes from them.

    \b
    jdq up                                  start Redis and workers on this machine
    jdq submit extract data.csv --wait      the features of the texts in data.csv
    jdq submit train-head --wait            a head on the dataset submitted last
    jdq result JOB                          what came out
    """


cli.add_command(submit.submit)
for _command in (*stack_commands.COMMANDS, *job_commands.COMMANDS, logs.logs, top.top):
    cli.add_command(_command)
cli.add_command(store.store)
cli.add_command(model.model)
for _group in (heads.heads, models.models, compare.compare, report.report):
    cli.add_command(_group)
cli.add_command(predict.predict)


def main() -> None:
    """The entry of the `jdq` script."""
    sys.exit(cli())
