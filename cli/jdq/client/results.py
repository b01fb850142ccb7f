"""Results of jobs as numpy arrays and pandas data frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from jdq.client.connection import Connection
    from jdq.store.spaces.shard import Features
    from jdq.worker.queue.records import Job

# The accuracy after 1,000 more labels, with its 95 % interval, and the range in which a fine-tune would end.
FORECAST = ("forecast", "forecast_low", "forecast_high", "fine_tune_low", "fine_tune_high")


def reader_of(job: Job) -> Callable[[Connection, Job], Any]:
    """The function that reads the result of a job of this kind."""
    from jdq.worker.queue.contract import WITH_TABLE, Extract

    if isinstance(job.spec, Extract):
        return features
    if isinstance(job.spec, WITH_TABLE):
        return table
    return trials if getattr(job.spec, "search", None) is not None else metrics


def features(connection: Connection, job: Job) -> Features:
    """(rows, dim): the feature of each row, repeats included. Raises MissingFeatures if texts were skipped."""
    result = job.result or {}
    table = connection.store.open(result["dataset"], version=result["version"], space=result["space"])
    return table.read()


def metrics(_: Connection, job: Job) -> pd.DataFrame:
    """The test part's metrics: a row for each, with its value, and its 95 % interval if there is one.

    After a cross-validation or on several splits also with cv_mean and cv_std, or repeats_mean and repeats_std. For
    `auto`, the accuracy also has the FORECAST; it is missing if there are too few rows for one.
    """
    import pandas as pd

    result = job.result or {}
    measured = {name: value for name, value in result["metrics"].items() if _is_number(value)}
    spans: Mapping[str, Any] = result["intervals"]
    rows = {name: [value, *spans.get(name, (None, None))] for name, value in measured.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"], dtype=float)
    for name in ("cv", "repeats"):
        if several := result.get(name):
            for figure in ("mean", "std"):
                figures = {metric: of[figure] for metric, of in several["metrics"].items()}
                frame[f"{name}_{figure}"] = pd.Series(figures, dtype=float)
    if getattr(job.spec, "forecast", False):
        forecast = result["forecast"] or {"with_labels": [None] * 3, "fine_tune": [None] * 2}
        for name, value in zip(FORECAST, [*forecast["with_labels"], *forecast["fine_tune"]], strict=True):
            frame.loc["accuracy", name] = value
    return frame.rename_axis("metric")


def trials(_: Connection, job: Job) -> pd.DataFrame:
    """The trials of a search, the best first: head, params, score and spread in cross-validation, time, error."""
    import pandas as pd

    return pd.DataFrame((job.result or {})["search"]["trials"])


def table(connection: Connection, job: Job) -> pd.DataFrame:
    """The table of the job. In predictions, a row without a text has neither `predicted_label` nor probabilities."""
    import pandas as pd

    from jdq.cli.jobs.tables import number_columns, table_file
    from jdq.store.table.written import read_records

    header, *rows = read_records(table_file(connection, job))
    frame = pd.DataFrame(rows, columns=list(header), dtype=object)
    first = number_columns(job.kind, header)
    if job.kind == "predict":
        frame.iloc[:, first - 1] = frame.iloc[:, first - 1].where(frame.iloc[:, first] != "", None)
    numbers = {name: pd.to_numeric(frame[name]).astype(float) for name in header[first:]}
    return frame.assign(**numbers)


def comparison(connection: Connection, dataset: str, version: str | None, label: str | None) -> pd.DataFrame:
    """The rows of `jdq compare`."""
    import pandas as pd

    from jdq.cli.trained.compare import flat
    from jdq.worker.report.comparison import compare_dataset

    compared = compare_dataset(connection.store, dataset, version=version, label_column=label)
    for fault in compared.unreadable:
        connection.note(f"warning: {fault}")
    return pd.DataFrame([flat(row, connection.config.device_hour_price) for row in compared.rows])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
