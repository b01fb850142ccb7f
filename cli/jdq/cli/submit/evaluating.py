"""`jdq evaluate`: the scores of a head or a fine-tune on a labelled file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.certain import certain_options
from jdq.cli.client import Client
from jdq.cli.ids import HEAD, MODEL
from jdq.cli.output import json_option, print_json, print_table, say
from jdq.cli.short_jobs import check_trained, short_jobs
from jdq.cli.submit.data import data_argument, files_or_dataset, read_options, table_options

if TYPE_CHECKING:
    from jdq.worker.heads.certainty import Requested

SHOWN = ("accuracy", "precision", "recall", "f1", "macro_f1", "roc_auc")


@click.command()
@data_argument("FILE...|DATASET")
@click.option("--head", type=HEAD, help="Id of the head; see `jdq heads ls`.")
@click.option("--model", type=MODEL, help="Id of a fine-tuned model, instead of a head; see `jdq models ls`.")
@click.option("--name", help="Name of the dataset in the store.  [default: `evaluate-` and the file's name]")
@certain_options
@table_options()
@json_option
def evaluate(
    data: tuple[str, ...],
    head: str | None,
    model: str | None,
    name: str | None,
    certain: Requested,
    table: dict[str, Any],
    as_json: bool,
) -> None:
    """Measure a head or fine-tune on a labelled file or dataset.

    Prints each metric with its 95 % interval (bootstrap over the rows), and the metrics of each class. Uses all
    labelled rows. A label that the head does not know counts as never predicted. Also measures abstention and sets of
    labels, at 0.9 unless --abstain-at and --sets set other shares. Computes on this machine, without Redis, if torch is
    installed, else on the workers.

    \b
    jdq evaluate new.csv --head train-head-7kq2m9xw
    """
    from jdq.store.datasets.names import EVALUATED, name_from
    from jdq.store.table import table_name
    from jdq.worker.queue.contract import Evaluate

    client = Client()
    check_trained(client, head, model)
    with short_jobs(client) as compute:
        name = name or name_from(f"{EVALUATED}{table_name(data)}")
        version = files_or_dataset(client, data, name=name, options=read_options(table))
        spec = Evaluate(
            dataset=version.name,
            version=version.version,
            head=head,
            model=model,
            label_column=table["label_column"],
            certain=certain,
        )
        measured = json.loads(compute(spec))
    for note in measured["notes"]:
        say(f"warning: {note}", err=True)
    if as_json:
        print_json(measured)
    else:
        _print(head or model or "", measured)


def _print(trained: str, measured: dict[str, Any]) -> None:
    from jdq.cli.jobs.results import print_classes

    dataset = f"{measured['dataset']} {measured['version']}, label column {measured['label_column']}"
    say(f"{trained} on {measured['rows']:,} rows of {dataset}")
    rows = [
        [name, f"{measured[name]:.3f}", _span(measured["intervals"].get(name))]
        for name in SHOWN
        if measured[name] is not None
    ]
    print_table(["metric", "value", "95 % interval"], rows)
    if certain := measured.get("certain"):
        say("")
        _print_certain(certain)
    say("")
    print_classes(measured)


def _print_certain(certain: dict[str, Any]) -> None:
    """How well abstention and sets keep their promise."""
    names = {
        "answered": "answered",
        "right": f"of these right (promised {certain['abstain_at']:g})",
        "covered": f"right labels in the sets (promised {certain['sets']:g})",
    }
    rows = [
        [shown, f"{certain[name]:.3f}", _span(certain[f"{name}_interval"])]
        for name, shown in names.items()
        if certain[name] is not None
    ]
    print_table(["certainty", "share", "95 % interval"], rows)
    say(f"labels per set: {certain['set_size']:.2f} on average; {certain['empty']:.1%} of the sets are empty")


def _span(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}"
