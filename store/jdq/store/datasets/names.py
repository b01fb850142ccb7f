"""Names of datasets and of their versions. They come from users and from the network, and become folder names."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from jdq.store.errors import StoreError, did_you_mean

NAME = re.compile(r"\w[\w.-]{0,63}")
NAME_BYTES = 200
# How the names of tables begin that were imported only to be classified or measured, unless the user names them.
PREDICTED, EVALUATED = "predict-", "evaluate-"
VERSION = re.compile(r"[0-9a-f]{12}")
VERSION_BEGINNING = re.compile(r"[0-9a-f]{1,12}")


class InvalidName(StoreError):
    """Not a valid name of a dataset, version, split or feature space."""


@dataclass(eq=False)
class UnknownDataset(StoreError):
    """No dataset has this name, or the dataset has no such version."""

    wanted: str
    known: Sequence[str]

    def __str__(self) -> str:
        if not self.known:
            return f"no dataset {self.wanted!r}: the store has none yet\n  try: jdq submit extract data.csv"
        names = [name for name in self.known if is_passing(self.wanted) or not is_passing(name)]
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        if passing := len(self.known) - len(names):
            shown += f"{' and ' if names else ''}{passing} imported only for predictions"
        nearest = did_you_mean(self.wanted, self.known)
        return f"no dataset {self.wanted!r}; the store has: {shown}{nearest}\n  try: jdq store ls"


@dataclass(eq=False)
class NameTaken(StoreError):
    """Another table of this name has a digest that begins with the same digits."""

    name: str
    version: str

    def __str__(self) -> str:
        fact = f"dataset {self.name} has another table as version {self.version}; import this one under another name"
        return f"{fact}\n  try: jdq submit extract data.csv --name {self.name}-2"


def name_from(stem: str) -> str:
    """A dataset's name from a file's: lower-case letters and digits of any script, `.`, `_` and single dashes."""
    text = unicodedata.normalize("NFC", stem).lower()
    text = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", text)).strip("-.")
    while len(text) > 64 or len(text.encode()) > NAME_BYTES:
        text = text[:-1]
    return text.rstrip("-.") or "dataset"


def is_passing(name: str) -> bool:
    """Whether a table of this name was imported only to be classified or measured: lists leave it out."""
    return name.startswith((PREDICTED, EVALUATED))


def check_name(name: str) -> str:
    """`name` if a dataset may have it, else InvalidName: no name leads out of the folder."""
    # Only lower case and one normal form: some file systems take the others for the same folder.
    one_form = unicodedata.normalize("NFC", name).lower()
    if NAME.fullmatch(name) and len(name.encode(errors="replace")) <= NAME_BYTES and name == one_form:
        return name
    raise InvalidName(
        f"{name[:80]!r} cannot be a dataset's name: lower-case letters, digits, '.', '_' and '-', at most 64"
        f"\n  try: jdq submit extract data.csv --name {name_from(name)}"
    )


def check_version(version: str) -> str:
    """`version` if it is 12 hexadecimal digits, or the first of them, else InvalidName."""
    if VERSION_BEGINNING.fullmatch(version):
        return version
    raise InvalidName(f"{version[:80]!r} cannot be a dataset's version: 12 hexadecimal digits, or the first of them")
