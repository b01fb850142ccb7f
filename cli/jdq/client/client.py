"""`Client`: submit jobs from Python, wait for them, and get their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from jdq.cli.certain import requested
from jdq.cli.client import BadRequest
from jdq.cli.submit.auto import auto_spec, best_of
from jdq.cli.submit.checks import checked_encoder
from jdq.cli.submit.extract import extraction
from jdq.cli.submit.fine_tune import fine_tune_spec
from jdq.cli.submit.predict import maker_of
from jdq.cli.submit.sending import made_by
from jdq.client import results
from jdq.client.connection import Connection, InProcess
from jdq.client.division import division_of
from jdq.client.head_jobs import HeadJobs
from jdq.client.inputs import Columns, Data, Table, imported
from jdq.client.job import Job, dataset_of
from jdq.client.sending import Priority, Urls, sending_of
from jdq.client.suggestions import python_errors
from jdq.worker.encoder.options import parse_poolings
from jdq.worker.finetune.options import FineTuneOptions, check_options
from jdq.worker.queue.contract import FineTune, Predict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from jdq.store.datasets import DatasetVersion
    from jdq.store.store import Store
    from jdq.worker.queue.records import Job as Record

    Features = npt.NDArray[np.float16] | npt.NDArray[np.float32]


class Client(HeadJobs):
    """Submits jobs to the workers of a stack; with `Client.local()` they run in this process.

    broker_url, store: instead of the configured ones, which are those of the commands. quiet: no progress bars, and no
    notes on stderr about what was assumed. Wrong requests raise an error before there is a job: BadRequest, StoreError
    (about tables, names and columns), HeadError, FineTuneError; BrokerUnreachable if Redis does not answer.

    Methods that submit a job take `priority` ("high", "normal" or "low"; by default normal, for a search low),
    `time_limit` ("30m", "2h", "1d": the job fails if it has not ended this long after its start) and `notify` (apprise
    URLs to notify when it ends; by default those of JDQ_NOTIFY). `Client.local()` refuses them.
    """

    def __init__(self, broker_url: str | None = None, *, store: str | Path | None = None, quiet: bool = False) -> None:
        self._connection = Connection(broker_url, store, quiet=quiet)

    @classmethod
    def local(cls, store: str | Path | None = None, *, quiet: bool = False) -> Self:
        """A client whose jobs run in this process, one after another: needs jdq[worker], but neither Redis nor workers.

        A program does not end before its jobs have ended.
        """
        client = cls.__new__(cls)
        client._connection = InProcess(store, quiet=quiet)
        return client

    def __repr__(self) -> str:
        where = "in this process" if isinstance(self._connection, InProcess) else "on a stack"
        return f"<Client {where}, store {self._connection.config.store}>"

    @property
    def store(self) -> Store:
        """The store with datasets, features, heads and models."""
        return self._connection.store

    @python_errors
    def extract(
        self,
        data: Data,
        *,
        text: Columns = None,
        label: Columns = None,
        name: str | None = None,
        encoder: str | None = None,
        max_length: int | None = None,
        precision: str | None = None,
        pooling: str = "auto",
        on_error: Literal["fail", "skip"] = "fail",
        missing_labels: Literal["error", "keep"] = "keep",
        skip_empty: bool = False,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[Features]:
        """Computes the features that the store does not have yet. The result: (rows, dim).

        data: a data frame, a list of texts, or a file (also a folder, a pattern or a URL). text: its text column;
        several are joined. label: its label column, or the labels of a list of texts. name: of the dataset in the
        store. skip_empty: leave out rows without a text. The other options are those of `jdq submit extract`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        connection = self._connection
        encoder = checked_encoder(connection, encoder or connection.config.encoder)
        try:
            poolings = parse_poolings(pooling)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        reading = {"missing_labels": missing_labels, "empty_text": "skip" if skip_empty else "error"}
        version = self._imported(data, text, label, name, **reading)
        wanted = {"max_length": max_length, "on_error": on_error, "pooling": poolings}
        spec = extraction(connection, encoder, precision, version, **wanted)
        return self._submitted(spec, made_by(connection, encoder, "fine-tune"), results.features, sending)

    @python_errors
    def auto(
        self,
        data: Data | Job[Any],
        *,
        text: Columns = None,
        label: Columns = None,
        name: str | None = None,
        encoder: str | None = None,
        fine_tune: Literal["no", "auto"] = "no",
        label_separator: str | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        test: Table | Job[Any] | None = None,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Finds the best classifier: features, the default head, and a forecast of what more labels would bring.

        The result: metrics, and for the accuracy also the forecast. fine_tune: `auto` waits for the head, fine-tunes
        the encoder if the forecast says that it could pay off, and returns the model's job if a paired test says that
        the model is better. data: as for `fine_tune`. The other options are those of `train_head`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        if fine_tune not in ("no", "auto"):
            raise BadRequest(f"fine_tune is either no or auto, not {fine_tune!r}")
        connection = self._connection
        encoder = checked_encoder(connection, encoder or connection.config.encoder)
        version = self._imported(data, text, label, name, command="jdq submit auto")
        column = label if isinstance(label, str) else None
        with division_of(split_column, group_column, test) as division:
            of = (version, encoder, column, label_separator, division)
            spec, after = auto_spec(connection, *of, priority=sending["priority"])
        head = self._submitted(spec, after, results.metrics, sending)
        if fine_tune == "no":
            return head

        def run(spec: FineTune) -> Record:
            return connection.job(self._submitted(spec, (), results.metrics, sending).wait().id)

        return self.job(best_of(connection, connection.job(head.wait().id), encoder, run))

    @python_errors
    def fine_tune(
        self,
        data: Data | Job[Any],
        *,
        text: Columns = None,
        label: Columns = None,
        name: str | None = None,
        encoder: str | None = None,
        epochs: int = 3,
        learning_rate: float = 5e-5,
        batch_size: int = 16,
        max_length: int | None = None,
        freeze: str = "none",
        lora: int | None = None,
        early_stopping: int | None = None,
        seed: int = 0,
        label_separator: str | None = None,
        skip_empty: bool = False,
        split_column: str | None = None,
        group_column: str | None = None,
        test: Table | Job[Any] | None = None,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Trains the whole network. The result: metrics. The job's id is the model's.

        data: as for `extract`, a dataset's name, or the job that extracted it. Options: see `jdq submit fine-tune`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        connection = self._connection
        encoder = checked_encoder(connection, encoder or connection.config.encoder)
        options = FineTuneOptions(
            encoder=encoder,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=max_length,
            freeze=freeze,
            lora=lora,
            early_stopping=early_stopping,
            seed=seed,
            label_separator=label_separator,
        )
        check_options(options)
        reading = {"empty_text": "skip" if skip_empty else "error", "command": "jdq submit fine-tune"}
        version = self._imported(data, text, label, name, **reading)
        with division_of(split_column, group_column, test) as division:
            spec = fine_tune_spec(connection, options, version, label if isinstance(label, str) else None, division)
        return self._submitted(spec, made_by(connection, encoder, "fine-tune"), results.metrics, sending)

    @python_errors
    def predict(
        self,
        data: Data | Job[Any],
        *,
        head: str | Job[Any] | None = None,
        model: str | Job[Any] | None = None,
        text: Columns = None,
        name: str | None = None,
        abstain_at: float | None = None,
        sets: float | None = None,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Classifies each row with a head or a fine-tuned model: its id, or the job that trains it.

        head: may also be a job that `auto` returned, of either kind. data: as for `extract`, or the name of a dataset.
        The result: the table with `predicted_label` and `probability_CLASS`. A row without a text has no prediction.
        abstain_at: the label is "" if it is too uncertain for this share of the labels to be right.
        sets: the sets in a column `label_set` contain the right label in this share of the rows.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        if (head is None) == (model is None):
            raise BadRequest("give either head or model")
        if isinstance(head, Job) and head.kind == FineTune.kind:
            head, model = None, head
        head, model = (each.id if isinstance(each, Job) else each for each in (head, model))
        certain = requested(abstain_at, sets)
        after = maker_of(self._connection, head, model, certain)
        reading = {"unlabelled": True, "can_be_unlabelled": False, "empty_text": "keep"}
        command = f"jdq submit predict --{'head' if head else 'model'} {head or model}"
        version = self._imported(data, text, None, name, prefix="predict-", command=command, **reading)
        spec = Predict(dataset=version.name, version=version.version, head=head, model=model, certain=certain)
        return self._submitted(spec, after, results.table, sending)

    @python_errors
    def compare(self, dataset: str | Job[Any], *, version: str | None = None, label: str | None = None) -> pd.DataFrame:
        """The heads and fine-tunes of a dataset, the best macro-F1 first: the rows of `jdq compare`.

        Those that were measured on other test rows are last: `comparable` is false, and `why` says how they differ.
        """
        return results.comparison(self._connection, dataset_of(dataset), version, label)

    @python_errors
    def job(self, id: str) -> Job[Any]:
        """A job that was submitted before, also by the command line. Raises UnknownJob."""
        record = self._connection.job(id)
        return Job(self._connection, id, results.reader_of(record))

    def _imported(
        self, data: Data | Job[Any], text: Columns, label: Columns, name: str | None, **options: Any
    ) -> DatasetVersion:
        self._connection.jobbook  # noqa: B018 - fails before the import where Redis does not answer
        return imported(self._connection, dataset_of(data), text, label, name, **options)
