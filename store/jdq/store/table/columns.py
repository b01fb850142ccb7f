"""The columns of a table, and which of them are the text and the label."""

import difflib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.options import columns as listed
from jdq.store.table.source import Source

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
    names = [name if name.strip() else f"column_{number}" for number, name in enumerate(header, start=1)]
    counts = Counter(names)
    taken: dict[str, int] = {}
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    for place, name in enumerate(names):
        free = name
        while free in taken or (free != name and free in counts):
            free = f"{name}_{next(numbers[name])}"
        taken[free] = place
    repeated = [name for name, count in counts.items() if count > 1]
    return {name: place for name, place in taken.items() if used[place]}, repeated


def named_cells(header: Sequence[str]) -> int:
    """The number of cells of the header up to the last that has a name."""
    return max((place for place, name in enumerate(header, start=1) if name.strip()), default=0)


def choose_columns(
    source: Source,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    used: Sequence[bool],
    advice: str = "",
    *,
    is_row: bool = False,
) -> Columns:
    """The table's columns, with the text and label columns that the user names or that their names show.

    The text: `text`, else the only column with a common name (description, document, ...), else the only one that is
    not the label. The label: `label`, else the only column with a common name (category, class, ...), else none.
    `rows` are the first, `advice` is what to try where the header is not at the top, and `is_row` says that the header
    is probably a row itself. Raises TableError, with the
    available columns, where a named column does not exist or the text is ambiguous.
    """
    file, options = source.path, source.options
    places, repeated = named_columns(header, used)
    names = list(places)
    named = [("--text-column", name) for name in options.text_columns]
    for option, wanted in [*named, ("--label-column", options.label_column)]:
        if wanted is not None and wanted not in names:
            raise _no_such_column(source, wanted, names, option)
    label, warnings = _find_label(source, names)
    texts = options.text_columns or (_find_text(source, names, label, header, rows, advice, is_row=is_row),)
    if label in texts:
        other = [("--label-column", name) for name in names if name not in texts][:1]
        raise source.error(f"{file}: column {label!r} cannot be both the text and the label", *itertools.chain(*other))
    if chosen := set(repeated) & {*texts, label}:
        fact = f"{file} has more than one column {some(sorted(map(repr, chosen)))}; it has: {listed(header)}"
        raise TableError(f"{fact}\n  rename them in the file's header")
    if repeated:
        shown = some([repr(name) for name in repeated])
        warnings.append(f"{file} has more than one column {shown}; the later ones are numbered ({repeated[0]}_2)")
    joined = texts if len(texts) > 1 else ()
    text = JOINED_NAME.join(texts)
    if joined and text in places:
        raise TableError(f"{file} has a column {text!r}, which is what the joined texts would be called; rename it")
    return Columns(
        names=(*names, text) if joined else tuple(names),
        places=tuple(places.values()),
        width=len(header),
        least=named_cells(header),
        text=text,
        label=label,
        joined=joined,
        warnings=tuple(warnings),
    )


def _find_label(source: Source, names: list[str]) -> tuple[str | None, list[str]]:
    options = source.options
    if options.unlabelled or options.label_column is not None:
        return options.label_column, []
    free = [name for name in names if name not in options.text_columns]
    candidates = _called(free, frozenset({"label"}))[:1] or _called(free, LABEL_NAMES)
    if len(candidates) < 2:
        return (candidates[0] if candidates else None), []
    fact = f"{some(candidates)} could each be the label column, so none is used; choose with --label-column"
    return None, [f"{source.path}: {fact}"]


def _find_text(
    source: Source,
    names: list[str],
    label: str | None,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    advice: str,
    *,
    is_row: bool,
) -> str:
    others = [name for name in names if name != label]
    candidates = _called(others, frozenset({"text"}))[:1] or _called(others, TEXT_NAMES)
    if len(candidates) == 1:
        return candidates[0]
    if len(others) == 1 and not is_row:
        return others[0]
    ambiguous = f"{source.path}: {some(candidates)} could each be the text column"
    fact = ambiguous if candidates else f"no column 'text' in {source.path}"
    fact += f"; it has: {listed(names)}"
    if advice:
        raise TableError(fact + advice)
    if not candidates and is_row:
        fact += "\n  this looks like a row: if the file has no header, its columns are column_1, column_2, ..."
    raise source.error(fact, *below_header(header, rows, source.options, candidates or others, is_row=is_row))


def below_header(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: TableOptions,
    candidates: Sequence[str] = (),
    *,
    is_row: bool,
) -> list[str]:
    """The options that make a table of this header and its first rows: --no-header if it is a row itself, and the text.

    The text column is the longest of those that are filled in most rows, of `candidates` where there are any.
    """
    # Usual names of text columns are names, and no cells of a row.
    is_row = is_row and options.header and not _called(candidates, TEXT_NAMES)
    words = ["--no-header"] if is_row else []
    places, repeated = named_columns(header, [True] * len(header))
    if is_row or not options.header:
        places = {f"column_{place + 1}": place for place in places.values()}
    if options.text_columns and all(name in places for name in options.text_columns):
        return words

    def weight(name: str) -> tuple[int, int]:
        cells = [row[places[name]].strip() for row in rows if places[name] < len(row)]
        return sum(map(bool, cells)), sum(map(len, cells))

    unique = [name for name in places if name not in repeated]
    usable = [name for name in unique if name in candidates] or unique or list(places)
    return [*words, "--text-column", max(usable, key=weight)]


def looks_like_a_row(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a header is probably data: a cell is a number, a date, or a long text, or is also in a row below it."""
    if any(_DATUM.fullmatch(cell.strip()) or cell.count(" ") >= _WORDS for cell in header):
        return True
    below = [dict(zip(header, row, strict=False)) for row in rows if list(row) != list(header)]
    return any(name.strip() and row.get(name) == name for row in below for name in header)


def _called(names: Sequence[str], wanted: frozenset[str]) -> list[str]:
    """The names in `wanted`, ignoring case, outer white space, and spaces or dashes for underscores."""
    return [name for name in names if name.strip().lower().replace(" ", "_").replace("-", "_") in wanted]


def _no_such_column(source: Source, wanted: str, names: list[str], option: str) -> TableError:
    options = source.options
    folded = {name.strip().lower(): name for name in names}
    near = difflib.get_close_matches(wanted.strip().lower(), list(folded), n=1)
    free = [name for name in names if name not in (*options.text_columns, options.label_column)] or names
    kept = [name for name in options.text_columns if name != wanted] if option == "--text-column" else []
    words = [word for name in (*kept, folded[near[0]] if near else free[0]) for word in (option, name)]
    return source.error(f"no column {wanted!r} in {source.path}; it has: {listed(names)}", *words)
