"""The columns of a table, and which of them are the text and the label."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.options import columns as listed

TEXT_NAMES = frozenset(
    """
    description job_description jobdescription full_description posting content document body message review
    sentence comment utterance question abstract article tweet resume resume_str
    """.split()  # noqa: SIM905 - a literal list would take a line per name
)
_DATUM = re.compile(r"[+-]?\d[\d.,:/\-]*(e[+-]?\d+)?( \d{1,2}:\d\d(:\d\d)?)?", re.IGNORECASE)
_WORDS = 6
LABEL_NAMES = frozenset(["labels", "category", "class", "target", "intent", "topic", "sentiment"])
# Each column costs about 40 microseconds and 300 bytes of the file's end per row group.
MOST_COLUMNS = 20_000
# Between two texts that become one, as between paragraphs.
JOINED_BY, JOINED_NAME = "\n\n", " + "
FILE_COLUMN = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns to import: `places[i]` is the position of the cell of column `names[i]` in a record of the file.

    `width` is the number of cells of the header, `least` the number up to the last that has a name: cells of columns
    without a name may be missing in a record. `text` and `label` are names. `joined` are the names of the columns whose
    texts make up the text column, which is then the last of `names` and in no record.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    width: int
    least: int
    text: str
    label: str | None
    joined: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def named_columns(header: Sequence[str], used: Sequence[bool]) -> tuple[dict[str, int], list[str]]:
    """Name -> place of the columns to keep, and the names that the header has more than once.

    A column without a name is `column_N`, or is left out where not `used`. The second `x` is `x_2`.
    """
    names = [name if name.strip() else f"column_{place + 1}" for place, name in enumerate(header)]
    counts = Counter(names)
    repeated = [name for name, count in counts.items() if count > 1]
    taken: dict[str, int] = {}
    for place, name in enumerate(names):
        number = 1
        while name in taken:
            number += 1
            name = f"{names[place]}_{number}" if f"{names[place]}_{number}" not in counts else name
        taken[name] = place
    return {name: place for name, place in taken.items() if used[place]}, repeated


def named_cells(header: Sequence[str]) -> int:
    """The number of cells of the header up to the last that has a name."""
    return max((place for place, name in enumerate(header, start=1) if name.strip()), default=0)


def choose_columns(
    file: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    used: Sequence[bool],
    options: TableOptions,
    advice: str = "",
) -> Columns:
    """The table's columns, with the text and label columns that the user names or that their names show.

    The text: `text`, else the only column with a usual name (description, document, ...), else the only one that is
    not the label. The label: `label`, else the only column with a usual name (category, class, ...), else none.
    `rows` are the first, and `advice` is what to try where the header is not at the top. Raises TableError, with the
    available columns, where a named column does not exist or the text is ambiguous.
    """
    places, repeated = named_columns(header, used)
    names = list(places)
    _check_named(file, names, options)
    label, warnings = _find_label(file, names, options)
    try:
        texts = options.text_columns or (_find_text(file, places, label, header, rows, options),)
    except TableError as error:
        if not advice:
            raise
        raise TableError(str(error).partition("\n")[0] + advice) from None
    if label in texts:
        message = f"{file}: column {label!r} cannot be both the text and the label"
        other = next((name for name in names if name not in texts), None)
        raise TableError(message + (options.try_with(file, "--label-column", other) if other else ""))
    if chosen := set(repeated) & {*texts, label}:
        fact = f"{file} has more than one column {some(sorted(map(repr, chosen)))}; it has: {listed(header)}"
        raise TableError(f"{fact}\n  rename them in the file's header")
    if repeated:
        shown = some([repr(name) for name in repeated])
        warnings.append(f"{file} has more than one column {shown}; the later ones are numbered ({repeated[0]}_2)")
    text = texts[0] if len(texts) == 1 else JOINED_NAME.join(texts)
    if len(texts) > 1 and text in places:
        raise TableError(f"{file} has a column {text!r}, which is what the joined texts would be called; rename it")
    return Columns(
        names=(*names, text) if len(texts) > 1 else tuple(names),
        places=tuple(places.values()),
        width=len(header),
        least=named_cells(header),
        text=text,
        label=label,
        joined=texts if len(texts) > 1 else (),
        warnings=tuple(warnings),
    )


def _check_named(file: Path, names: list[str], options: TableOptions) -> None:
    for wanted in options.text_columns:
        if wanted not in names:
            raise _no_such_column(file, wanted, names, "--text-column", options)
    if options.label_column is not None and options.label_column not in names:
        raise _no_such_column(file, options.label_column, names, "--label-column", options)


def _find_label(file: Path, names: list[str], options: TableOptions) -> tuple[str | None, list[str]]:
    if options.unlabelled or options.label_column is not None:
        return options.label_column, []
    free = [name for name in names if name not in options.text_columns]
    if exact := _called(free, frozenset({"label"})):
        return exact[0], []
    candidates = _called(free, LABEL_NAMES)
    if len(candidates) < 2:
        return (candidates[0] if candidates else None), []
    return None, [
        f"{file}: {some(candidates)} could each be the label column, so none is used; choose with --label-column"
    ]


def _find_text(
    file: Path,
    places: dict[str, int],
    label: str | None,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: TableOptions,
) -> str:
    names = [name for name in places if name != label]
    if exact := _called(names, frozenset({"text"})):
        return exact[0]
    candidates = _called(names, TEXT_NAMES)
    if len(candidates) == 1:
        return candidates[0]
    if len(names) == 1 and not looks_like_a_row(header):
        return names[0]
    if candidates:
        message = f"{file}: {some(candidates)} could each be the text column; it has: {listed(list(places))}"
    else:
        message = f"no column 'text' in {file}; it has: {listed(list(places))}"
    if options.header and not candidates and looks_like_a_row(header):
        message += "\n  this looks like a row: if the file has no header, its columns are column_1, column_2, ..."
    raise TableError(message + options.try_with(file, *below_header(header, rows, options, candidates or names)))


def below_header(
    header: Sequence[str], rows: Sequence[Sequence[str]], options: TableOptions, candidates: Sequence[str] = ()
) -> list[str]:
    """The options that make a table of this header and its first rows: --no-header if it is a row itself, and the text.

    The text column is the longest of those that are filled in most rows, of `candidates` where there are any.
    """
    is_row = options.header and not _are_usual(candidates) and looks_like_a_row(header)
    names, repeated = named_columns(header, [True] * len(header))
    numbered = is_row or not options.header
    places = {f"column_{place + 1}": place for place in names.values()} if numbered else names
    free = [name for name in candidates if name in places and name not in repeated]
    named = [name for name in options.text_columns if name in places]
    words = ["--no-header"] if is_row else []
    if named and len(named) == len(options.text_columns):
        return words

    def weight(name: str) -> tuple[int, int]:
        cells = [row[places[name]].strip() for row in rows if places[name] < len(row)]
        return sum(map(bool, cells)), sum(map(len, cells))

    usable = free or [name for name in places if name not in repeated] or list(places)
    return [*words, "--text-column", max(usable, key=weight)]


def _are_usual(candidates: Sequence[str]) -> bool:
    """Whether these are usual names of text columns, so that they are names and no cells of a row."""
    return bool(_called(list(candidates), TEXT_NAMES))


def looks_like_a_row(header: Sequence[str]) -> bool:
    """Whether a header is probably data: a cell is a number or a date, or a long text with the spaces of one."""
    return any(_DATUM.fullmatch(cell.strip()) or cell.count(" ") >= _WORDS for cell in header)


def _called(names: list[str], wanted: frozenset[str]) -> list[str]:
    """The names in `wanted`, ignoring case, outer white space, and spaces or dashes for underscores."""
    return [name for name in names if name.strip().lower().replace(" ", "_").replace("-", "_") in wanted]


def _no_such_column(file: Path, wanted: str, names: list[str], option: str, options: TableOptions) -> TableError:
    folded = {name.strip().lower(): name for name in names}
    near = difflib.get_close_matches(wanted.strip().lower(), list(folded), n=1)
    free = [name for name in names if name not in (*options.text_columns, options.label_column)] or names
    best = folded[near[0]] if near else free[0]
    message = f"no column {wanted!r} in {file}; it has: {listed(names)}"
    kept = [name for name in options.text_columns if name != wanted] if option == "--text-column" else []
    words = [word for name in (*kept, best) for word in (option, name)]
    return TableError(message + options.try_with(file, *words))
