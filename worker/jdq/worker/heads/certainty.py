"""The probabilities at which predictions are certain enough, by the share that is promised to be right.

Imports no numeric package, because the client checks requests here. `conformal` chooses the probabilities.
"""

from typing import Any

import msgspec

from jdq.worker.heads.errors import BadParameter, NoCertainty

PERCENTS = range(50, 100)
LEVEL = 0.9  # of an evaluation that names none


class Certainty(msgspec.Struct, frozen=True, kw_only=True):
    """Chosen on `rows` rows that were not learnt from, which are worth `texts` independent ones.

    answers: for 50, 51 to 99 percent, the lowest probability of a predicted label that is given, so that this share of
    them is right; None if no probability is enough. sets: the lowest probability of a class that is in the set of
    labels, so that this share of the sets has the right one, or this share of a row's labels if rows have several.
    """

    rows: int
    texts: float
    answers: tuple[float | None, ...]
    sets: tuple[float, ...]

    def least_to_answer(self, level: float) -> float:
        """The lowest probability at which a predicted label is given. Raises BadParameter."""
        least = self.answers[place_of(level)]
        return float("inf") if least is None else least

    def least_in_set(self, level: float) -> float:
        """The lowest probability of a class in the set. Raises BadParameter."""
        return self.sets[place_of(level)]


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """The levels that a prediction must reach; None for none."""

    abstain_at: float | None = None
    sets: float | None = None

    def __bool__(self) -> bool:
        return (self.abstain_at, self.sets) != (None, None)


def place_of(level: float) -> int:
    """The level's place in `answers` and `sets`. Raises BadParameter for one that is not stored."""
    percent = round(100 * level)
    if abs(100 * level - percent) > 1e-9 or percent not in PERCENTS:
        raise BadParameter(f"the share of right answers must be 0.50 to 0.99, in hundredths, not {level:g}")
    return percent - PERCENTS.start


def check_requested(requested: Requested, record: dict[str, Any], name: str) -> None:
    """Raises BadParameter, and NoCertainty if the head or model of this record cannot keep such a promise."""
    if not requested:
        return
    for level in (requested.abstain_at, requested.sets):
        place_of(LEVEL if level is None else level)
    if record.get("certainty") is None:
        raise NoCertainty(
            f"{name} does not know how certain it is: it was trained without validation rows, or by an earlier jdq\n"
            f"  try: train it again, and see jdq submit train-head --help"
        )
