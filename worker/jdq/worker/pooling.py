"""The pooling of an encoder's last hidden states into one feature: which ones there are. Imports no package."""

from __future__ import annotations

AUTO = "auto"  # as the encoder's folder says, else CLS
CLS = "cls"  # the state at position 0
MEAN = "mean"  # the mean of the states of all tokens
POOLINGS = (CLS, MEAN)


def parse_poolings(text: str) -> tuple[str, ...]:
    """The names in a list separated by commas, such as "cls,mean". Raises ValueError on an unknown or repeated one."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in (AUTO, *POOLINGS):
            raise ValueError(f"no pooling {name!r}; choose from: {', '.join((AUTO, *POOLINGS))}")
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a pooling twice")
    return names
