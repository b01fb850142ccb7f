"""`jdq predict`: classify one text on this machine."""

from __future__ import annotations

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.output import json_option
from jdq.cli.programs import require_worker_packages, run_program


@click.command()
@click.argument("text")
@click.option("--head", help="Id of the head; see `jdq heads ls`.")
@click.option("--model", help="Id of a fine-tuned model, instead of a head; see `jdq models ls`.")
@json_option
def predict(text: str, head: str | None, model: str | None, as_json: bool) -> None:
    """Classify TEXT on this machine.

    Prints the probability of each class, most likely first. Needs no Redis and no workers; for a whole file, see
    `jdq submit predict`.

    \b
    jdq predict "Chef for a busy kitchen" --head train-head-7kq2m9xw
    """
    from jdq.store.trained import Heads, Models

    if (head is None) == (model is None):
        raise BadRequest("give either --head or --model\n  try: jdq heads ls")
    require_worker_packages()
    root = Client().store.root
    path = Heads(root).path(head) if head is not None else Models(root).path(model or "")
    run_program("jdq.worker.programs.predict_text", [str(path), *(["--json"] if as_json else []), "--", text])
