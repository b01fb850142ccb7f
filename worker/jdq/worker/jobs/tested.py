"""What comparisons need of a test part: each row's true and predicted class, and baselines without an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from jdq.store.job_files import JobFiles, NoResult
from jdq.worker.jobs.labelled import LabelledRows
from jdq.worker.report.comparison import baselines_id
from jdq.worker.report.paired import TESTED, as_tested
from jdq.worker.report.setting import TestSetting

if TYPE_CHECKING:
    from jdq.worker.heads.features import Check


def put_tested(
    files: JobFiles,
    job: str,
    data: LabelledRows,
    probabilities: npt.NDArray[Any],
    *,
    label_separator: str | None,
    thresholds: Sequence[float],
) -> None:
    """Stores the true and the predicted classes of the test rows. probabilities: (test rows, classes)."""
    from jdq.worker.heads.decision import predicted_sets
    from jdq.worker.heads.labels import read_targets
    from jdq.worker.heads.split import TEST

    codes, rows = read_targets(data.labels, label_separator=label_separator).codes, data.split.rows(TEST)
    predicted = probabilities.argmax(axis=1) if codes.ndim == 1 else predicted_sets(probabilities, thresholds)
    files.put_array(job, TESTED, as_tested(codes[rows], predicted, data.keys[rows]))


def put_baselines(
    files: JobFiles, dataset: str, setting: TestSetting, data: LabelledRows, label_separator: str | None, check: Check
) -> None:
    """Measures the baselines on these test rows, unless an earlier job has done so."""
    from jdq.worker.heads.baselines import measured_baselines
    from jdq.worker.heads.labels import read_targets
    from jdq.worker.heads.split import TEST

    job = baselines_id(dataset, setting)
    try:
        files.get_result(job)
        return
    except NoResult:
        pass
    targets = read_targets(data.labels, label_separator=label_separator)
    test = data.split.rows(TEST)
    lines = measured_baselines(data.texts, targets, data.split, data.keys, check)
    for line in lines:
        files.put_array(job, line.name, as_tested(targets.codes[test], line.predicted, data.keys[test]))
    fields = ("name", "metrics", "intervals", "trained_rows", "wall_time_s")
    described = [{name: getattr(line, name) for name in fields} for line in lines]
    files.put_result(job, {"lines": described, "test_rows": len(test)})
