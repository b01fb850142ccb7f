"""The columns of a table, and which of them are the text and the label."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.options import columns as listed

TEXT_NAMES = frozenset(
    [
        "description",
        "job_description",
        "jobdescription",
        "full_description",
        "posting",
        "content",
        "document",
        "body",
        "message",
        "review",
        "sentence",
        "comment",
        "utterance",
        "question",
        "abstract",
        "article",
        "tweet",
        "resume",
        "resume_str",
    ]
)
LABEL_NAMES = frozenset(["labels", "category", "class", "target", "intent", "topic", "sentiment"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns to import: `places[i]` is the position of the cell of column `names[i]` in a record of the file.

    `width` is the number of cells of the header, `least` the number up to the last that has a name: cells of columns
    without a name may be missing in a record. `text` and `label` are names.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    width: int
    least: int
    text: str
    label: str | None
    warnings: tuple[str, ...] = ()


def named_columns(file: Path, header: Sequence[str], used: Sequence[bool]) -> dict[str, int]:
    """Name -> place of the columns to keep: a column without a name is `column_N`, or is left out where not `used`.

    Raises TableError for repeated names.
    """
    names = [name if name.strip() else f"column_{place + 1}" for place, name in enumerate(header)]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        message = f"{file} has more than one column {some([repr(name) for name in repeated])}"
        raise TableError(f"{message}; it has: {listed(names)}\n  rename them in the file's header")
    return {name: place for place, (name, keep) in enumerate(zip(names, used, strict=True)) if keep}


def named_cells(header: Sequence[str]) -> int:
    """The number of cells of the header up to the last that has a name."""
    return max((place for place, name in enumerate(header, start=1) if name.strip()), default=0)


def choose_columns(
    file: Path, header: Sequence[str], first: Sequence[str], used: Sequence[bool], options: TableOptions
) -> Columns:
    """The table's columns, with the text and label columns that the user names or that their names show.

    The text: `text`, else the only column with a usual name (description, document, ...), else the only one that is
    not the label. The label: `label`, else the only column with a usual name (category, class, ...), else none.
    Raises TableError, with the available columns, where a named column does not exist or the text is ambiguous.
    """
    places = named_columns(file, header, used)
    names = list(places)
    for option in (options.text_column, options.label_column):
        if option is not None and option not in places:
            raise _no_such_column(file, option, names, options)
    label, warnings = _find_label(file, names, options)
    text = options.text_column or _find_text(file, places, label, first, options)
    if text == label:
        message = f"{file}: column {text!r} cannot be both the text and the label"
        raise TableError(message + options.try_with(file, "--text-column", text))
    return Columns(
        names=tuple(names),
        places=tuple(places.values()),
        width=len(header),
        least=named_cells(header),
        text=text,
        label=label,
        warnings=tuple(warnings),
    )


def _find_label(file: Path, names: list[str], options: TableOptions) -> tuple[str | None, list[str]]:
    if options.unlabelled or options.label_column is not None:
        return options.label_column, []
    free = [name for name in names if name != options.text_column]
    if exact := _called(free, frozenset({"label"})):
        return exact[0], []
    candidates = _called(free, LABEL_NAMES)
    if len(candidates) < 2:
        return (candidates[0] if candidates else None), []
    return None, [f"{file}: {some(candidates)} could each be the label, so none is used; choose with --label-column"]


def _find_text(
    file: Path, places: dict[str, int], label: str | None, first: Sequence[str], options: TableOptions
) -> str:
    names = [name for name in places if name != label]
    if exact := _called(names, frozenset({"text"})):
        return exact[0]
    candidates = _called(names, TEXT_NAMES)
    if len(candidates) == 1:
        return candidates[0]
    if len(names) == 1:
        return names[0]
    if candidates:
        message = f"{file}: {some(candidates)} could each be the text; it has: {listed(list(places))}"
    else:
        message = f"no column 'text' in {file}; it has: {listed(list(places))}"
    # The longest cell of the first row is usually the text.
    longest = max(
        candidates or names or list(places),
        key=lambda name: len(first[places[name]]) if places[name] < len(first) else 0,
    )
    raise TableError(message + options.try_with(file, "--text-column", longest))


def _called(names: list[str], wanted: frozenset[str]) -> list[str]:
    """The names in `wanted`, ignoring case, outer white space, and spaces or dashes for underscores."""
    return [name for name in names if name.strip().lower().replace(" ", "_").replace("-", "_") in wanted]


def _no_such_column(file: Path, wanted: str, names: list[str], options: TableOptions) -> TableError:
    folded = {name.strip().lower(): name for name in names}
    near = difflib.get_close_matches(wanted.strip().lower(), list(folded), n=1)
    option = "--text-column" if wanted == options.text_column else "--label-column"
    message = f"no column {wanted!r} in {file}; it has: {listed(names)}"
    return TableError(message + options.try_with(file, option, folded[near[0]] if near else names[0]))
