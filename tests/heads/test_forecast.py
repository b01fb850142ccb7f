"""Forecasts: the curve through given errors, and what a head's job records of it."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.features import no_check
from jdq.worker.heads.forecast import LABELS, Forecast, extrapolated, least_squares, with_forecast
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import TRAIN, VALIDATION, make_split
from jdq.worker.heads.train import train_head
from tests.heads.conftest import Made, make

SIZES = np.array([100, 200, 400, 800])


def test_the_curve_is_that_of_least_squares_with_nothing_below_zero() -> None:
    x = np.array([[1.0, 0.5, 0.25, 0.1]] * 3)
    errors = np.stack([0.1 + 0.4 * x[0], -0.1 + 0.6 * x[0], np.array([0.1, 0.2, 0.3, 0.4])])
    a, b = least_squares(errors, x)
    assert a[0] == pytest.approx(0.1) and b[0] == pytest.approx(0.4)
    through_zero = np.linalg.lstsq(x[:1].T, errors[1], rcond=None)[0][0]
    assert a[1] == 0 and b[1] == pytest.approx(through_zero)
    assert a[2] == pytest.approx(0.25) and b[2] == 0


def curve(asymptote: float, slope: float, rows: int = 4000) -> Forecast:
    """By test rows of which exactly these shares are wrong at each size, the same ones at all larger sizes."""
    shares = asymptote + slope * SIZES**-0.5
    wrong = (np.arange(rows) < shares[:, None] * rows).astype(np.float64)
    return extrapolated(wrong, SIZES, np.arange(rows), 0.0)


def test_the_forecast_continues_the_learning_curve() -> None:
    found = curve(0.05, 3.0)
    reached = 1 - 0.05 - 3 * (800 + LABELS) ** -0.5
    value, low, high = found.with_labels
    assert low < reached < high and abs(value - reached) < 0.02 and high - low < 0.1
    assert [size for size, _ in found.curve] == SIZES.tolist()
    assert found.curve[-1][1] == pytest.approx(1 - 0.05 - 3 * 800**-0.5, abs=1e-3)
    assert found.ceiling[1] <= 0.95 <= found.ceiling[2]


def test_a_fine_tune_pays_where_more_labels_do_not_mend_the_errors() -> None:
    flat, steep = curve(0.2, 0.3), curve(0.0, 6.0)
    assert flat.pays and not steep.pays
    now = flat.curve[-1][1]
    assert flat.fine_tune == (now, min(1.0, now + 1 - flat.ceiling[1]))
    assert flat.described()["fine_tune"] == list(flat.fine_tune) and flat.described()["pays"] is True


def test_rows_of_one_text_are_drawn_together() -> None:
    wrong = np.tile([1.0, 0.0, 0.0, 0.0], (4, 100))
    apart = extrapolated(wrong, SIZES, np.arange(400), 0.0)
    together = extrapolated(np.sort(wrong, axis=1), SIZES, np.arange(400) // 100, 0.0)
    assert np.ptp(together.ceiling) > 3 * np.ptp(apart.ceiling)


def test_the_interval_is_wider_where_equally_good_heads_disagree() -> None:
    wrong = np.zeros((4, 400))
    assert extrapolated(wrong, SIZES, np.arange(400), 0.0).with_labels == (1.0, 1.0, 1.0)
    value, low, high = extrapolated(wrong + 0.5, SIZES, np.arange(400), 0.04).with_labels
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.04 / 400), rel=0.15) and value == pytest.approx(
        0.5, abs=0.01
    )


def trained(made: Made, **options: Any) -> dict[str, Any] | None:
    asked = HeadOptions(**{"head": "logreg", **options})
    head = train_head(made.X, made.y, made.split, asked, keys=made.keys)
    return with_forecast(
        head, made.X, made.y, made.split, asked, keys=made.keys, check=no_check
    ).record.forecast  # fmt: skip


@pytest.mark.parametrize("head", ["logreg", "linear"])
def test_the_last_point_of_the_curve_is_the_head_itself(made: Made, head: str) -> None:
    options = HeadOptions(head=head)
    record = train_head(made.X, made.y, made.split, options, keys=made.keys).record
    found = trained(made, head=head)
    learnt = record.trained_rows
    assert found is not None
    assert [rows for rows, _ in found["curve"]] == [-(-learnt // share) for share in (8, 4, 2)] + [learnt]
    assert found["curve"][-1][1] == pytest.approx(record.metrics["accuracy"])
    assert found["curve"][0][1] < found["curve"][-1][1] <= found["with_labels"][2] <= 1


def test_few_rows_one_class_or_no_test_rows_give_no_forecast(made: Made) -> None:
    assert trained(make(rows=200)) is None
    rare = dataclasses.replace(made, y=np.where(np.arange(len(made.y)) % 150, "often", "rarely").astype(object))
    assert trained(dataclasses.replace(rare, split=make_split(rare.y, rare.keys))) is None
    options, parts = HeadOptions(), np.where(made.split.parts > VALIDATION, TRAIN, made.split.parts).astype(np.uint8)
    head = train_head(made.X, made.y, made.split, options, keys=made.keys)
    untested = dataclasses.replace(made.split, parts=parts)
    found = with_forecast(head, made.X, made.y, untested, options, keys=made.keys, check=no_check)
    assert found.record.forecast is None


def test_of_label_sets_all_labels_must_be_right(made: Made) -> None:
    y = np.array([f"{name}|x" if name == "class 1" else name for name in made.y], dtype=object)
    sets = dataclasses.replace(made, y=y)
    record = train_head(
        sets.X, y, sets.split, HeadOptions(head="logreg", label_separator="|"), keys=sets.keys
    ).record  # fmt: skip
    found = trained(sets, label_separator="|")
    assert found is not None and found["curve"][-1][1] == pytest.approx(record.metrics["accuracy"])
