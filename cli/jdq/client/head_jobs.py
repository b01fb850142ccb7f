"""The methods of `Client` that train heads on stored features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from jdq.cli.submit.head_spec import GRID, head_options_of, head_spec, search_of
from jdq.client import results
from jdq.client.dataset_checks import DatasetChecks
from jdq.client.division import division_of
from jdq.client.inputs import Table
from jdq.client.job import Job, dataset_of
from jdq.client.sending import Priority, Urls, sending_of
from jdq.client.suggestions import python_errors
from jdq.worker.heads.options import DEFAULT_HEAD

if TYPE_CHECKING:
    import pandas as pd

    from jdq.worker.heads.options import ParameterValue


class HeadJobs(DatasetChecks):
    """Needs the connection of a `Client`."""

    @python_errors
    def train_head(
        self,
        dataset: str | Job[Any] | None = None,
        *,
        head: str = DEFAULT_HEAD,
        params: Mapping[str, ParameterValue] | None = None,
        label: str | None = None,
        label_separator: str | None = None,
        class_weight: Literal["balanced"] | None = None,
        calibrate: bool = False,
        cv: int | None = None,
        per_class: int | None = None,
        seed: int = 0,
        version: str | None = None,
        space: str | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        test: Table | Job[Any] | None = None,
        repeats: int = 1,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Trains a head on the features of a dataset, by default the one extracted last. The result: metrics.

        dataset: a name, or the job that extracts it. label: the label column. label_separator: for cells with several
        labels. split_column, group_column, test: choose which rows are tested; test: a data frame, a file, or a dataset
        in the store. repeats: splits to measure on. The job's id is the head's. The options are those of `jdq submit
        train-head`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        fit = {"class_weight": class_weight, "calibrate": calibrate, "cv": cv, "per_class": per_class, "seed": seed}
        options = head_options_of([head], label_separator, dict(params or {}), searching=False, **fit)
        of = (dataset_of(dataset), version, space, label)
        with division_of(split_column, group_column, test) as division:
            spec, after = head_spec(self._connection, options, *of, None, division, repeats)
        return self._submitted(spec, after, results.metrics, sending)

    @python_errors
    def search(
        self,
        dataset: str | Job[Any] | None = None,
        *,
        heads: Sequence[str] = (),
        trials: int | str | None = None,
        metric: str = "macro_f1",
        label: str | None = None,
        label_separator: str | None = None,
        class_weight: Literal["balanced"] | None = None,
        calibrate: bool = False,
        per_class: int | None = None,
        seed: int = 0,
        version: str | None = None,
        space: str | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        test: Table | Job[Any] | None = None,
        repeats: int = 1,
        priority: Priority | None = None,
        time_limit: str | None = None,
        notify: Urls = None,
    ) -> Job[pd.DataFrame]:
        """Searches a grid of heads and parameters, or `trials` random ones, for the best head. The result: the trials.

        trials: a number, or a time such as "10m". heads: the kinds to try. repeats: splits to measure the best head on.
        The job's id is the best head's. The other options are those of `train_head`.
        """
        sending = sending_of(self._connection, priority, time_limit, notify)
        count, multi_label = GRID if trials is None else str(trials), label_separator is not None
        wanted = search_of(count, tuple(heads), metric, multi_label=multi_label)
        fit = {"class_weight": class_weight, "calibrate": calibrate, "per_class": per_class, "seed": seed}
        options = head_options_of(heads, label_separator, {}, searching=True, **fit)
        of = (dataset_of(dataset), version, space, label)
        with division_of(split_column, group_column, test) as division:
            spec, after = head_spec(self._connection, options, *of, wanted, division, repeats)
        return self._submitted(spec, after, results.trials, sending)
