"""The messages between client and workers: the specification of a job, and the wake-up message (ticket) for a worker.

Both are frozen, typed and versioned, and refuse unknown fields: an old worker must not do only half of what a newer
client requests. They are JSON, and carry names and numbers, never texts or features.
"""

from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias, get_args

import msgspec

from jdq.worker.encoder.options import AUTO
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.heads.certainty import Requested
from jdq.worker.heads.options import BEST_BY, HeadOptions
from jdq.worker.heads.split_options import SplitOptions

Queue: TypeAlias = Literal["gpu", "cpu"]
QUEUES: tuple[Queue, ...] = ("gpu", "cpu")
NOBODY = "-"  # the owner of a job that an earlier version of jdq created


# The version of these messages. A worker refuses fields that it does not know, so any change needs a new number. A
# client submits nothing while a worker with another number is live; workers older than 1 do not report theirs.
PROTOCOL = 1


class JobState(StrEnum):
    """The states of a job."""

    QUEUED = "queued"  # no worker has taken a chunk of it yet, or it waits for another job
    RUNNING = "running"  # a worker has taken a chunk of it
    SUCCEEDED = "succeeded"  # every chunk is committed
    FAILED = "failed"  # the error says why
    CANCELLED = "cancelled"  # by a user
    UNREADABLE = "unreadable"  # this version of jdq cannot read its entries; never stored

    @property
    def ended(self) -> bool:
        """True if nothing more will happen to the job, as far as this version can tell."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class _Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="spec"):
    """What every specification has: the dataset version that the job is about."""

    dataset: str
    version: str


class Extract(_Spec, frozen=True, kw_only=True, tag="jdq.extract.v1"):
    """Compute the features of a dataset version's texts that the store does not have yet."""

    kind: ClassVar[str] = "extract"
    first_queue: ClassVar[Queue] = "cpu"  # the plan
    queues: ClassVar[tuple[Queue, ...]] = ("cpu", "gpu")
    encoder: str  # a hub name, or a folder that the workers can read
    max_length: int | None = None  # tokens; None is the encoder's own limit
    precision: str = AUTO
    storage_dtype: Literal["float16", "float32"] = "float16"
    on_error: Literal["fail", "skip"] = "fail"  # for a text without a finite feature
    pooling: tuple[str, ...] = (AUTO,)  # each a feature space; heads use the first by default


class HeadSearch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search for the best head: a grid, or `trials` random trials, scored by cross-validation over the train part.

    heads: the kinds to try; by default those that suit the number of rows. metric: what the best head maximizes.
    time_s: no trial begins or continues after this many seconds; until then, random trials follow the grid.
    """

    trials: int | None = None
    time_s: float | None = None
    heads: tuple[str, ...] = ()
    folds: int = 5
    metric: str = BEST_BY


class TrainHead(_Spec, frozen=True, kw_only=True, tag="jdq.train-head.v1"):
    """Train a head on the stored features of a dataset version: one chunk, or a search with one chunk per trial."""

    kind: ClassVar[str] = "train-head"
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu",)
    space: str | None = None  # None is the feature space of the version's last extraction
    options: HeadOptions = HeadOptions()
    label_column: str | None = None  # None is the dataset's own
    search: HeadSearch | None = None
    split: SplitOptions = SplitOptions()
    repeats: int = 1  # splits to measure on, each by another seed; the head is that of the first
    forecast: bool = False  # whether to forecast what more labels would bring


class FineTune(_Spec, frozen=True, kw_only=True, tag="jdq.fine-tune.v1"):
    """Train the whole network on a dataset version: one chunk, which resumes from its last checkpoint."""

    kind: ClassVar[str] = "fine-tune"
    first_queue: ClassVar[Queue] = "gpu"
    queues: ClassVar[tuple[Queue, ...]] = ("gpu",)
    options: FineTuneOptions
    label_column: str | None = None  # None is the dataset's own
    split: SplitOptions = SplitOptions()


class Predict(_Spec, frozen=True, kw_only=True, tag="jdq.predict.v1"):
    """Classify the rows of a dataset version with a head or a fine-tuned model, exactly one of which is given.

    A plan, the features of new texts (with a model: the probabilities of all texts), and a closing chunk that writes
    the table.
    """

    kind: ClassVar[str] = "predict"
    table: ClassVar[str] = "predictions.csv"  # in the job's folder
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu", "gpu")
    head: str | None = None
    model: str | None = None
    certain: Requested = Requested()


class FindLabelErrors(_Spec, frozen=True, kw_only=True, tag="jdq.find-label-errors.v1"):
    """List the rows of a dataset version whose label is probably wrong: one chunk."""

    kind: ClassVar[str] = "find-label-errors"
    table: ClassVar[str] = "label_errors.csv"
    first_number: ClassVar[str] = "score"  # the first column of numbers
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu",)
    space: str | None = None  # None is the feature space of the version's last extraction
    head: Literal["auto", "hybrid"] = "auto"
    label_column: str | None = None  # None is the dataset's own
    label_separator: str | None = None
    folds: int = 5
    seed: int = 0


class FindDuplicates(_Spec, frozen=True, kw_only=True, tag="jdq.find-duplicates.v1"):
    """List the rows of a dataset version whose text nearly equals that of an earlier row: one chunk.

    against: compares with the rows of this dataset version instead. across_split: compares the test part with the other
    parts of the label column's split instead.
    """

    kind: ClassVar[str] = "find-duplicates"
    first_queue: ClassVar[Queue] = "cpu"
    queues: ClassVar[tuple[Queue, ...]] = ("cpu",)
    table: ClassVar[str] = "duplicates.csv"
    first_number: ClassVar[str] = "similarity"
    space: str | None = None  # None is the feature space of the version's last extraction
    against: str | None = None
    against_version: str | None = None
    across_split: bool = False
    label_column: str | None = None  # None is the dataset's own
    least: float | None = None  # cosine similarity; None: chosen by how similar any two texts are


# The files of a short job: its input, which the client writes, and its output, which the client collects.
TEXTS, OUTPUT = "texts", "output"


class _ShortJob(_Spec, frozen=True, kw_only=True):
    """What a client without the machine-learning packages has a worker compute, and waits for: one chunk.

    Exactly one of head and model is given; a model's job is on the gpu queue. The output is `output.npy` of the job's
    files, as bytes, which the client collects.
    """

    dataset: str = "-"
    version: str = "-"
    head: str | None = None
    model: str | None = None

    @property
    def first_queue(self) -> Queue:
        """The queue of the chunk."""
        return "gpu" if self.model else "cpu"

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The same."""
        return (self.first_queue,)


class Classify(_ShortJob, frozen=True, kw_only=True, tag="jdq.classify.v1"):
    """Classify the texts in `texts.json` of the job's files. The output: a list of predictions as JSON."""

    kind: ClassVar[str] = "classify"
    certain: Requested = Requested()


class Evaluate(_ShortJob, frozen=True, kw_only=True, tag="jdq.evaluate.v1"):
    """Measure a head or a model on a labelled dataset version. The output: the metrics as JSON."""

    kind: ClassVar[str] = "evaluate"
    label_column: str | None = None  # None is the dataset's own
    certain: Requested = Requested()


class Similar(_ShortJob, frozen=True, kw_only=True, tag="jdq.similar.v1"):
    """Find the rows of a dataset version most similar to the text in `texts.json`. The output: rows as JSON."""

    kind: ClassVar[str] = "similar"
    space: str | None = None  # None is the feature space of the version's last extraction
    k: int = 10


class Report(_ShortJob, frozen=True, kw_only=True, tag="jdq.report.v1"):
    """Write the report on a head, a model, or a job's table. The output: a page of HTML."""

    kind: ClassVar[str] = "report"
    table: str | None = None


ShortJob: TypeAlias = Classify | Evaluate | Similar | Report
Spec: TypeAlias = Extract | TrainHead | FineTune | Predict | FindLabelErrors | FindDuplicates | ShortJob
KINDS: tuple[str, ...] = tuple(spec.kind for spec in get_args(Spec))

WITH_TABLE: tuple[type[Predict | FindLabelErrors | FindDuplicates], ...] = (Predict, FindLabelErrors, FindDuplicates)
WITH_PAGE: tuple[type[FindLabelErrors | FindDuplicates], ...] = (FindLabelErrors, FindDuplicates)  # in a report


class UnknownSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A specification that this version of jdq does not understand. problem: why; dataset, version: "-" if unknown."""

    problem: str
    dataset: str = "-"
    version: str = "-"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wakes up a worker: work on the job's chunks until none is pending or the time slice ends."""

    task: ClassVar[str] = "jdq.work.v1"
    job: str


class _Dataset(msgspec.Struct, frozen=True):
    """What the specifications of all versions have in common."""

    dataset: str = "-"
    version: str = "-"


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
        raise ContractError(
            f"a job specification that this version of jdq does not understand; made by a newer jdq? {error}\n"
            "  try: the same version of jdq for client and workers; see jdq workers"
        ) from error
    return spec


def read_spec(text: str | bytes) -> Spec | UnknownSpec:
    """The specification from JSON, of any version of jdq: for code that only shows it."""
    try:
        return decode_spec(text)
    except ContractError as error:
        try:
            known = msgspec.json.decode(text, type=_Dataset)
        except msgspec.MsgspecError:
            return UnknownSpec(problem=str(error))
        return UnknownSpec(problem=str(error), dataset=known.dataset, version=known.version)


def decode_ticket(message: object) -> Ticket:
    """The ticket from the keyword arguments of a Celery message; raises ContractError."""
    try:
        return msgspec.convert(message, Ticket)
    except msgspec.MsgspecError as error:
        raise ContractError(f"a ticket that this version of jdq does not understand: {error}") from error
