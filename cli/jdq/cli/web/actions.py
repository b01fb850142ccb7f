"""What the buttons of the pages do: the same as the commands, on behalf of the person who is logged in."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from jdq.cli.client import BadRequest, Client
from jdq.cli.submit.checks import check_classifiers
from jdq.cli.submit.head_spec import GRID, head_options_of, head_spec, search_of
from jdq.cli.submit.sending import submitted
from jdq.cli.trained.report import report_spec
from jdq.worker.heads.options import BEST_BY, DEFAULT_HEAD, parse_params
from jdq.worker.queue.contract import HeadSearch

# Called with a client and the fields of the form and of the address; returns the page to show next.
Action: TypeAlias = Callable[["Acting", Mapping[str, str]], str]


class Acting(Client):
    """The client of one person for one request; notes are kept for the next page."""

    def __init__(self, environment: Mapping[str, str], owner: str) -> None:
        super().__init__({**environment, "JDQ_USER": owner})
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keeps it."""
        self.notes.append(text)


def cancel(client: Acting, fields: Mapping[str, str]) -> str:
    """Cancels the job; another owner's only with the field `force`."""
    job = fields["job"]
    if not client.cancel(job, force="force" in fields):
        raise BadRequest(f"job {job} has already ended")
    return f"/jobs/{job}"


def retry(client: Acting, fields: Mapping[str, str]) -> str:
    """Retries the job."""
    job = client.job(fields["job"]).id
    client.retry(job)
    return f"/jobs/{job}"


def train(client: Acting, fields: Mapping[str, str]) -> str:
    """Submits a job that trains a head on the dataset."""
    return _head_job(client, fields, (fields.get("head", DEFAULT_HEAD),), None)


def search(client: Acting, fields: Mapping[str, str]) -> str:
    """Submits a search for the dataset's best head: random trials, or a grid."""
    trials, multi_label = fields.get("trials") or GRID, "labels_by" in fields
    return _head_job(client, fields, (), search_of(trials, (), fields.get("metric", BEST_BY), multi_label=multi_label))


def _head_job(client: Acting, fields: Mapping[str, str], heads: tuple[str, ...], search: HeadSearch | None) -> str:
    options = head_options_of(
        heads,
        fields.get("labels_by"),
        parse_params(fields.get("params", "").split()),
        searching=search is not None,
        class_weight="balanced" if "balanced" in fields else None,
    )
    check_classifiers(client.config, heads)
    spec, after = head_spec(client, options, fields["dataset"], None, None, fields.get("label_column"), search)
    return f"/jobs/{submitted(client, spec, after=after)}"


def report(client: Acting, fields: Mapping[str, str]) -> str:
    """Submits a job that writes the report on the head or model, or the table, of this job."""
    return f"/jobs/{submitted(client, report_spec(client.store, fields['job']), after=())}"
