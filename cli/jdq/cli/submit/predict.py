"""`jdq submit predict`: a label and probabilities for each row of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jdq.cli.certain import certain_options
from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import HEAD_TO_COME, MODEL_TO_COME
from jdq.cli.jobs.tables import Target, target_options
from jdq.cli.submit.data import data_argument, files_or_dataset, read_options, table_options
from jdq.cli.submit.sending import Sending, job_options, made_by, send_for_table

if TYPE_CHECKING:
    from jdq.worker.heads.certainty import Requested


@click.command()
@data_argument("FILE...|DATASET")
@click.option("--head", type=HEAD_TO_COME, help="Id of the head; see `jdq heads ls`.")
@click.option("--model", type=MODEL_TO_COME, help="Id of a fine-tuned model, instead of a head; see `jdq models ls`.")
@target_options("File for the table (.csv, .tsv, .jsonl, .parquet), or - for stdout; waits for the job.")
@click.option("--name", help="Name of the dataset in the store.  [default: `predict-` and the file's name]")
@certain_options
@table_options(labels=False)
@job_options
def predict(
    data: tuple[str, ...],
    head: str | None,
    model: str | None,
    to: Target | None,
    name: str | None,
    certain: Requested,
    table: dict[str, Any],
    sending: Sending,
) -> None:
    """Classify each row of a file or dataset.

    The table keeps its rows, their order and its columns; `predicted_label` and `probability_CLASS` are added. Computes
    only features that are not in the store. With --skip-empty, rows without a text are kept and have no prediction.
    --abstain-at leaves the label of an uncertain row empty; --sets adds `label_set`. To get the table later: jdq result
    JOB --to out.csv

    \b
    jdq submit predict new.csv --head train-head-7kq2m9xw --to out.csv
    """
    from jdq.store.datasets.names import PREDICTED, name_from
    from jdq.store.table import table_name
    from jdq.worker.queue.contract import Predict

    if (head is None) == (model is None):
        raise BadRequest("give either --head or --model\n  try: jdq heads ls")
    client = Client()
    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    after = maker_of(client, head, model, certain)
    # A separate name, because without labels the file is not the dataset that heads are trained on.
    name = name or name_from(f"{PREDICTED}{table_name(data)}")
    options = read_options(table, unlabelled=True, keep_empty=True)
    version = files_or_dataset(client, data, name=name, options=options)
    spec = Predict(dataset=version.name, version=version.version, head=head, model=model, certain=certain)
    send_for_table(client, spec, sending, to, after=after)


def maker_of(client: Client, head: str | None, model: str | None, certain: Requested) -> list[str]:
    """The job to wait for if the head or model is not in the store yet.

    Raises UnknownTrained, BadRequest, and NoCertainty if it cannot be as certain as requested.
    """
    from jdq.store.trained import Heads, Models
    from jdq.worker.heads.certainty import check_requested

    wanted = head or model or ""
    trained = Heads(client.store.root) if head else Models(client.store.root)
    after = [] if trained.has(wanted) else made_by(client, wanted, "train-head" if head else "fine-tune")
    if not after:
        check_requested(certain, trained.record(wanted), wanted)
    return after
