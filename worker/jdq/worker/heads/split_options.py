"""How the rows of a dataset are divided, without any machine-learning package: the client checks its arguments here."""

import msgspec

from jdq.worker.heads.errors import BadParameter

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


def part_of_cell(cell: str) -> int | None:
    """0 train, 1 validation, 2 test; None for a cell that names no part."""
    word = cell.strip().lower()
    return next((part for part, names in enumerate(PART_NAMES.values()) if word in names), None)
