"""`jdq submit train-head`: train a head on stored features, or search for the best one."""

from typing import Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import DATASET, HEAD_KIND, SPACE, VERSION
from jdq.cli.submit.data import label_options
from jdq.cli.submit.head_spec import GRID, head_options_of, head_spec, search_of
from jdq.cli.submit.sending import Sending, job_options, send
from jdq.cli.submit.split import Division, split_options
from jdq.worker.heads.options import BEST_BY, parse_params


@click.command("train-head")
@click.argument("dataset", type=DATASET, required=False)
@click.option(
    "--head",
    "heads",
    type=HEAD_KIND,
    multiple=True,
    metavar="KIND",
    help="Kind of head (see above); may be repeated with --search.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Parameter of the head, such as C=0.1; may be repeated.",
)
@click.option("--label-column", help="Column with the labels.  [default: the dataset's own]")
@label_options
@click.option("--class-weight", type=click.Choice(["balanced"]), help="Weight rare classes as much as frequent ones.")
@click.option("--calibrate", is_flag=True, help="Calibrate the probabilities on the validation part.")
@click.option(
    "--cv", type=click.IntRange(min=2), metavar="K", help="Number of folds for an additional cross-validation."
)
@click.option(
    "--per-class", type=click.IntRange(min=1), metavar="N", help="Number of texts per class to train on (few-shot)."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed for training.")
@click.option(
    "--version", type=VERSION, metavar="V", help="Version of DATASET, or its first digits.  [default: extracted last]"
)
@click.option("--space", type=SPACE, metavar="S", help="Feature space, or its first digits.  [default: extracted last]")
@click.option(
    "--search",
    is_flag=False,
    flag_value=GRID,
    metavar="[N|TIME]",
    help="Search for the best head in a grid of heads and parameters, in N random trials (--search=50), or for some "
    "time (--search=10m).",
)
@click.option(
    "--metric",
    default=BEST_BY,
    show_default=True,
    help="Metric that a search optimizes, such as accuracy or log_loss.",
)
@split_options
@click.option(
    "--repeats", type=click.IntRange(min=2), metavar="N", help="Number of splits to measure on, for their spread."
)
@job_options
def train_head(
    dataset: str | None,
    heads: tuple[str, ...],
    label_column: str | None,
    labels_by: str | None,
    version: str | None,
    space: str | None,
    search: str | None,
    metric: str,
    division: Division,
    repeats: int | None,
    sending: Sending,
    **options: Any,
) -> None:
    """Train a head on the features of DATASET.

    The default is the dataset extracted last. The job waits for a running extraction of the dataset. Kinds of heads:
    auto (the default: the best of the next three), tf-idf, linear, hybrid, logreg, linear-svm, svm, mlp, knn, hist-gbm,
    random-forest, dummy, or the dotted name of a scikit-learn classifier that the workers allow.

    \b
    jdq submit train-head
    jdq submit train-head postings --head mlp --class-weight balanced --wait
    jdq submit train-head postings --search
    """
    if search is not None and options["params"]:
        raise BadRequest("--search chooses the parameters itself: leave out --param")
    params = parse_params(options.pop("params"))
    head_options = head_options_of(heads, labels_by, params, searching=search is not None, **options)
    head_search = None if search is None else search_of(search, heads, metric, multi_label=labels_by is not None)
    client = Client()
    spec, after = head_spec(
        client, head_options, dataset, version, space, label_column, head_search, division, repeats or 1
    )
    send(client, spec, sending, after=after)
