"""Mutants that behave as the original does: equivalent.toml."""

import tomllib
from pathlib import Path


def equivalents() -> list[dict[str, str]]:
    """The entries of equivalent.toml: mutants that behave as the original does."""
    text = (Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8")
    entries: list[dict[str, str]] = tomllib.loads(text)["mutant"]
    return entries


def is_listed(function: str, becomes: str, entries: list[dict[str, str]]) -> bool:
    """Whether an entry is the mutant of this function and line, by both or only by a part of the line."""
    names = {"function": function, "becomes": becomes}
    return any(e["part"] in becomes if "part" in e else names.items() <= e.items() for e in entries)
