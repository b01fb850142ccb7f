"""The options of predictions that give only certain labels, or sets of labels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from jdq.worker.heads.certainty import Requested


def certain_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --abstain-at and --sets; the command gets them as `certain`."""

    @click.option(
        "--abstain-at",
        type=float,
        metavar="SHARE",
        help="Give only labels that are certain enough for SHARE of them to be right, such as 0.9.",
    )
    @click.option(
        "--sets",
        type=float,
        metavar="SHARE",
        help="Give sets of labels that contain the right one in SHARE of the rows, such as 0.9.",
    )
    @functools.wraps(command)
    def with_certain(*arguments: Any, abstain_at: float | None, sets: float | None, **options: Any) -> None:
        command(*arguments, certain=requested(abstain_at, sets), **options)

    return with_certain


def requested(abstain_at: float | None, sets: float | None) -> Requested:
    """The requested shares. Raises BadParameter."""
    from jdq.worker.heads.certainty import Requested, place_of

    for level in (abstain_at, sets):
        if level is not None:
            place_of(level)
    return Requested(abstain_at=abstain_at, sets=sets)
