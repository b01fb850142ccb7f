"""The methods of `Client` that look for problems in a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from jdq.cli.submit.find_duplicates import duplicates_spec
from jdq.cli.submit.find_label_errors import label_errors_spec
from jdq.client import results
from jdq.client.job import Job, dataset_of
from jdq.client.sending import Priority, Urls, sending_of
from jdq.client.suggestions import python_errors

if TYPE_CHECKING:
    import pandas as pd

    from jdq.client.connection import Connection
    from jdq.worker.queue.contract import Spec


class DatasetChecks:
    """Needs the connection of a `Client`."""

    _connection: Connection

    @python_errors
    def find_label_errors(
        self,
        dataset: str | Job[Any] | None = None,
        *,
        head: Literal["auto", "hybrid"] = "auto",
        label: str | None = None,
        label_separator: str | None = None,
        folds: int = 5,
        seed: int = 0,
        version: str | None = None,
        space: str | None = None,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Lists the rows whose label is probably wrong, the most likely first, with the label that other rows suggest.

        The options are those of `jdq submit find-label-errors` and of `train_head`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        options: dict[str, Any] = {"head": head, "folds": folds, "seed": seed}
        of = (dataset_of(dataset), version, space, label)
        spec, after = label_errors_spec(self._connection, *of, label_separator, **options)
        return self._submitted(spec, after, results.table, sending)

    @python_errors
    def find_duplicates(
        self,
        dataset: str | Job[Any] | None = None,
        *,
        against: str | Job[Any] | None = None,
        across_split: bool = False,
        label: str | None = None,
        least: float | None = None,
        version: str | None = None,
        space: str | None = None,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Lists the rows whose text nearly equals that of an earlier row, the most similar first.

        against: compare with the rows of this dataset instead. across_split: compare the test part with the other parts
        instead. The options are those of `jdq submit find-duplicates`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        of = (dataset_of(dataset), version, space)
        wanted: dict[str, Any] = {"across_split": across_split, "label_column": label, "least": least}
        spec, after = duplicates_spec(self._connection, *of, against=dataset_of(against), **wanted)
        return self._submitted(spec, after, results.table, sending)

    def _submitted(self, spec: Spec, after: Sequence[str], read: Any, sending: dict[str, Any]) -> Job[Any]:
        return Job(self._connection, self._connection.submit(spec, after=after, **sending), read)
