"""What a fine-tune reports while it works."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a fine-tune is. loss: of the last logged steps. eta_s: None before the first step of this process."""

    phase: str  # "tokenize", "train", "evaluate", "save"
    epoch: float
    epochs: int
    step: int
    steps: int
    loss: float | None
    eta_s: float | None


# Called after every step; it may raise to stop immediately, or StopAfterCheckpoint to save first.
Report = Callable[[Progress], None]


def no_report(progress: Progress) -> None:
    """Ignores progress, and never cancels."""
