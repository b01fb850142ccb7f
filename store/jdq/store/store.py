"""A store: a folder that holds datasets, features, heads and models as plain files."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import NotExtracted, StoreError, StoreFormatError, UnknownSpace, read_each
from jdq.store.files.digests import UnreadableFile, read_json, to_json
from jdq.store.files.publish import make_folder, publish, replace, require_file_system
from jdq.store.fork_lock import cached_property
from jdq.store.location import store_root
from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.shard import Features

if TYPE_CHECKING:
    import pandas as pd

    from jdq.store.datasets import Datasets
    from jdq.store.extracted import ExtractedDataset

FORMAT = "jdq-store"
FORMAT_VERSION = 1
PRECISION = "precision.json"
# What other processes may have made before the store is first opened here.
FOLDERS = {"STORE.json", "datasets", "heads", "models", "runs", "spaces"}


class _StoreFile(msgspec.Struct, frozen=True):
    format: str
    version: int


class _Precision(msgspec.Struct, frozen=True):
    automatic: str


class Store:
    """The store in the folder `root`, which `open_store` has checked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._spaces = root / "spaces"

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @cached_property
    def datasets(self) -> "Datasets":
        """The imported tables."""
        from jdq.store.datasets import Datasets

        return Datasets(self.root)

    def space(self, definition: FeatureSpace) -> Space:
        """The feature space with this definition, made if the store does not have it yet."""
        path = self._spaces / definition.digest
        publish(path / "space.json", definition.canonical_json())
        make_folder(path / "shards")
        return Space(path)

    def open_space(self, digest: str) -> Space:
        """The feature space whose digest is, or begins with, `digest`. Raises UnknownSpace."""
        known = self._digests()
        matches = [name for name in known if digest and name.startswith(digest)]
        if len(matches) != 1:
            raise UnknownSpace(digest, known)
        return Space(self._spaces / matches[0])

    def spaces(self) -> list[Space]:
        """All readable feature spaces, by digest."""
        return list(self.open_spaces()[0].values())

    def open_spaces(self) -> tuple[dict[Path, Space], dict[Path, StoreError]]:
        """All feature spaces by folder, and why the others cannot be opened."""
        return read_each([self._spaces / name for name in self._digests()], Space)

    def frame(self, dataset: str, *, version: str | None = None) -> "pd.DataFrame":
        """The dataset's table: its columns and rows as imported, text and labels among them; every cell is a str.

        `attrs` has the names of the text column and of the label column. Without `version` the newest. Raises
        UnknownDataset.
        """
        import pandas as pd

        table = self.datasets.get(dataset, version)
        frame = pd.concat(table.blocks(), ignore_index=True)
        frame.attrs |= {"text_column": table.text_column, "label_column": table.label_column}
        return frame

    def load(
        self, dataset: str, *, version: str | None = None, space: str | None = None, label_column: str | None = None
    ) -> tuple[Features, npt.NDArray[np.str_], list[str]]:
        """Features (rows, dim), labels (rows,) and texts of a dataset, in the table's row order, repeats included.

        Without `version` the newest; without `space` the feature space in which it was extracted last. Raises
        UnknownDataset, UnknownSpace, NotExtracted, MissingFeatures, DamagedShard, and NoLabels.
        """
        table = self.open(dataset, version=version, space=space)
        return table.read(), table.labels(label_column), table.texts()

    def open(self, dataset: str, *, version: str | None = None, space: str | None = None) -> "ExtractedDataset":
        """A dataset with its features, which are read on demand; the arguments and errors are those of `load`."""
        from jdq.store.extracted import ExtractedDataset

        table = self.datasets.get(dataset, version)
        if space is None:
            recorded = table.spaces()
            if not recorded:
                raise NotExtracted(table.name, table.version)
            space = recorded[0].space
        return ExtractedDataset(table, self.open_space(space))

    def precision(self) -> str | None:
        """The numeric precision that "auto" means to the programs that share this store; None before it was settled."""
        try:
            return read_json(self.root / PRECISION, _Precision).automatic
        except FileNotFoundError:
            return None
        except UnreadableFile as error:
            raise StoreFormatError(f"{self.root / PRECISION} cannot be read: {error.fact}") from None

    def settle_precision(self, precision: str) -> None:
        """Has "auto" mean this from now on."""
        if self.precision() != precision:
            replace(self.root / PRECISION, to_json(_Precision(automatic=precision)))

    def _digests(self) -> list[str]:
        folders = self._spaces.glob("*/")
        return sorted(path.name for path in folders if len(path.name) == 32 and not is_unfinished_space(path))


def is_unfinished_space(folder: Path) -> bool:
    """Whether the folder of a feature space was left by a process that died while it made it: nothing is in it."""
    return (
        folder.parent.name == "spaces"
        and len(folder.name) == 32
        and not (folder / "space.json").exists()
        and next((folder / "shards").glob("*.h5"), None) is None
    )


def open_store(path: str | Path | None = None, *, create: bool = True) -> Store:
    """The store at `path` (by default where `store_root` says), created if it does not exist and `create` is true.

    Raises StoreFormatError where the folder is not a store, or is one of a version that this jdq does not know, and
    StoreError where config.toml cannot be read.
    """
    root = store_root(path)
    file = root / "STORE.json"
    if not file.exists():
        _require_creatable(root, create)
        make_folder(root)
        require_file_system(root)
        publish(file, msgspec.json.encode(_StoreFile(format=FORMAT, version=FORMAT_VERSION)))
    try:
        stored = read_json(file, _StoreFile)
    except UnreadableFile as error:
        raise StoreFormatError(f"{file} does not describe a store: {error.fact}") from None
    if stored != _StoreFile(format=FORMAT, version=FORMAT_VERSION):
        raise StoreFormatError(
            f"{root} is {stored.format} version {stored.version}; this jdq reads {FORMAT} version {FORMAT_VERSION}"
        )
    return Store(root)


def _require_creatable(root: Path, create: bool) -> None:
    if not create:
        raise StoreFormatError(
            f"no store at {root}; set JDQ_STORE if it is elsewhere\n  try: jdq submit extract data.csv"
        )
    if root.is_dir() and any(entry.name not in FOLDERS and entry.name[0] != "." for entry in root.iterdir()):
        raise StoreFormatError(f"{root} holds other files and no STORE.json: it is not a store; name an empty folder")
