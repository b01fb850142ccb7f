"""Which poolings a job computes, and why: as requested, or as a folder of sentence-transformers was trained."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jdq.worker.encoder.errors import DamagedEncoder, UnsupportedEncoder
from jdq.worker.encoder.options import AUTO, CLS, MEAN, POOLINGS

CONFIG = "1_Pooling/config.json"
MODE = "pooling_mode_"
MODES = {"cls_token": CLS, "cls": CLS, "mean_tokens": MEAN, "mean": MEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPoolings:
    """The poolings of a job, the first of which heads use by default, and why these."""

    names: tuple[str, ...]
    reason: str


def choose_poolings(folder: Path, requested: Sequence[str]) -> ChosenPoolings:
    """The requested poolings, "auto" replaced by the folder's own, or by "cls" where the folder names none.

    Position 0 of an encoder that was trained for the mean costs a head accuracy. Raises UnsupportedEncoder if
    the folder names a pooling that jdq does not have, DamagedEncoder if its file cannot be read.
    """
    if unknown := [name for name in requested if name not in (AUTO, *POOLINGS)]:
        raise UnsupportedEncoder(f"no pooling {unknown[0]!r}; choose from: {', '.join((AUTO, *POOLINGS))}")
    if AUTO not in requested:
        return ChosenPoolings(names=tuple(requested), reason="requested")
    own = _own_pooling(folder)
    reason = f"the encoder's {CONFIG}" if own else f"the default, because the encoder has no {CONFIG}"
    names = dict.fromkeys((own or CLS) if name == AUTO else name for name in requested)
    return ChosenPoolings(names=tuple(names), reason=reason)


def _own_pooling(folder: Path) -> str | None:
    """The pooling that a folder of sentence-transformers names; None if it is none of theirs."""
    file = folder / CONFIG
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedEncoder(f"{file} is not JSON: {error}") from error
    modes = _modes(config) if isinstance(config, dict) else []
    known = [MODES[mode] for mode in modes if mode in MODES]
    if len(known) != 1 or len(modes) != 1:
        raise UnsupportedEncoder(
            f"{file} names the pooling {' and '.join(modes) or 'of no known kind'}, which jdq does not compute\n"
            "  try: --pooling mean, or --pooling cls"
        )
    return known[0]


def _modes(config: dict[str, object]) -> list[str]:
    """The modes that are on: one switch each, or, as newer versions write it, one name or a list of names."""
    named = config.get("pooling_mode")
    if named is not None:
        return [str(name) for name in (named if isinstance(named, list) else [named])]
    return [key.removeprefix(MODE) for key, on in config.items() if key.startswith(MODE) and on is True]
