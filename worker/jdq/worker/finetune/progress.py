"""What a fine-tune says while it works."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a fine-tune stands. loss: of the last logged steps. eta_s: None before the first step of this sitting."""

    phase: str  # "tokenize", "train", "evaluate", "save"
    epoch: float
    epochs: int
    step: int
    steps: int
    loss: float | None
    eta_s: float | None


# Called after every step; it may raise to stop at once, or StopAfterCheckpoint to save first.
Report = Callable[[Progress], None]


def no_report(progress: Progress) -> None:
    """Nobody watches and nobody cancels."""
