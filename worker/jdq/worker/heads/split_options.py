"""How the rows of a dataset are divided, without any machine-learning package: the client checks its arguments here."""

from collections.abc import Sequence

import msgspec

from jdq.worker.heads.errors import BadParameter, BadSplit

# What a cell of a split column may be, in any case, for each part.
PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval"),
}


class SplitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What decides the part of each row. By default it is a keyed hash of the row's text (`heads.split`).

    column: the table's column that has each row's part. test_dataset, test_version: a dataset version of the store,
    all of whose rows are the test part. group_column: rows with equal values there are in one part.
    """

    column: str | None = None
    group_column: str | None = None
    test_dataset: str | None = None
    test_version: str | None = None

    @property
    def given(self) -> bool:
        """Whether the user has decided which rows are in the test part."""
        return self.column is not None or self.test_dataset is not None

    @property
    def name(self) -> str:
        """What decides, in words; empty for the default."""
        if self.column is not None:
            return f"split column {self.column!r}"
        if self.test_dataset is not None:
            return f"test set {self.test_dataset} {self.test_version}"
        return "" if self.group_column is None else f"groups of column {self.group_column!r}"


def check_split(options: SplitOptions) -> SplitOptions:
    """The options, if at most one of them decides. Raises BadParameter."""
    given = {
        "--split-column": options.column,
        "--test": options.test_dataset,
        "--group-column": options.group_column,
    }
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise BadParameter(f"{' and '.join(named)} cannot be combined: each decides the part of every row")
    return options


def parts_of_cells(cells: Sequence[str], column: str) -> list[int]:
    """The part that each cell of a split column names: 0 train, 1 validation, 2 test; -1 for an empty cell.

    Raises BadSplit for other cells, and if no row is in the train or the test part.
    """
    named = {word: part for part, names in enumerate(PART_NAMES.values()) for word in names} | {"": -1}
    values = sorted(set(cells))
    unknown = [value for value in values if value.strip().lower() not in named]
    if unknown:
        shown = ", ".join(map(repr, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        raise BadSplit(
            f"split column {column!r} has the value {shown}; a row's part is one of: {', '.join(PART_NAMES)}"
        )
    part_of = {value: named[value.strip().lower()] for value in values}
    for part, name in ((0, "train"), (2, "test")):
        if part not in part_of.values():
            raise BadSplit(f"split column {column!r} has no row with the value {name!r}; it needs train and test")
    return [part_of[cell] for cell in cells]
