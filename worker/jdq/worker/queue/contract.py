"""What client and workers say to each other: the specification of a job, and the ticket that sends a worker to it.

Both are frozen, typed and versioned, and refuse unknown fields: an old worker must not half-obey a newer client. They
travel as JSON and carry names and numbers, never texts or features.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

import msgspec

from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.heads.options import BEST_BY, HeadOptions
from jdq.worker.precision import AUTO

Queue: TypeAlias = Literal["gpu", "cpu"]
QUEUES: tuple[Queue, ...] = ("gpu", "cpu")


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # no worker has taken a chunk of it yet, or it waits for another job
    RUNNING = "running"  # a worker has taken a chunk of it
    SUCCEEDED = "succeeded"  # every chunk is committed
    FAILED = "failed"  # it gave up; the error says why
    CANCELLED = "cancelled"  # the user ended it

    @property
    def ended(self) -> bool:
        """True when nothing more will happen to the job."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Extract(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="spec", tag="jdq.extract.v1"
):
    """Compute the features of a dataset version's texts that the store does not have yet."""

    kind: ClassVar[str] = "extract"
    first_queue: ClassVar[Queue] = "cpu"  # the plan
    queues: ClassVar[tuple[Queue, ...]] = ("cpu", "gpu")
    dataset: str
    version: str
    encoder: str  # a hub name, or a folder that the workers see
    max_length: int | None = None  # tokens; None is the encoder's own limit
    precision: str = AUTO
    storage_dtype: Literal["float16", "float32"] = "float16"
    on_error: Literal["fail", "skip"] = "fail"  # what a text without a finite feature does to the job


class HeadSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Look for the best head: a grid, or so many random trials, scored by cross-validation over the train part.

    heads: the kinds to try; none given are those that suit the number of rows. metric: what "best" goes by.
    """

    trials: int | None = None
    heads: tuple[str, ...] = ()
    folds: int = 5
    metric: str = BEST_BY


class TrainHead(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="spec", tag="jdq.train-head.v1"
):
    """Train a head on the stored features of a dataset version: one chunk, or a search of one chunk a trial."""

    kind: ClassVar[str] = "train-head"
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu",)
    dataset: str
    version: str
    space: str | None = None  # None is the feature space that the version was extracted in last
    options: HeadOptions = HeadOptions()
    label_column: str | None = None  # None is the dataset's own
    search: HeadSearch | None = None


class FineTune(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="spec", tag="jdq.fine-tune.v1"
):
    """Train the whole network on a dataset version: one chunk, which goes on from its last checkpoint."""

    kind: ClassVar[str] = "fine-tune"
    first_queue: ClassVar[Queue] = "gpu"
    queues: ClassVar[tuple[Queue, ...]] = ("gpu",)
    dataset: str
    version: str
    options: FineTuneOptions
    label_column: str | None = None  # None is the dataset's own


class Predict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="spec", tag="jdq.predict.v1"
):
    """Classify the rows of a dataset version with a head, or with a fine-tuned model: just one of them is given.

    A plan, the features of new texts (of a model: the probabilities of all texts), and a closing chunk that writes
    the table.
    """

    kind: ClassVar[str] = "predict"
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu", "gpu")
    dataset: str
    version: str
    head: str | None = None
    model: str | None = None


Spec: TypeAlias = Extract | TrainHead | FineTune | Predict


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work on a job's chunks until none is pending or the turn is over."""

    task: ClassVar[str] = "jdq.work.v1"
    job: str


class ContractError(Exception):
    """A message that this version of jdq does not understand; the message says which field."""


def encode_spec(spec: Spec) -> str:
    """The specification as JSON."""
    return msgspec.json.encode(spec).decode()


def decode_spec(text: str | bytes) -> Spec:
    """The specification back from JSON; raises ContractError."""
    try:
        spec: Spec = msgspec.json.decode(text, type=Spec)
    except msgspec.MsgspecError as error:
        raise ContractError(f"a job specification that this version of jdq does not understand: {error}") from error
    return spec


def decode_ticket(message: object) -> Ticket:
    """The ticket from the keyword arguments of a Celery message; raises ContractError."""
    try:
        return msgspec.convert(message, Ticket)
    except msgspec.MsgspecError as error:
        raise ContractError(f"a ticket that this version of jdq does not understand: {error}") from error
