"""How tests/store/frozen/shard-v1.h5 was made, once. It is never made again: later versions must read that very file.

python -m tests.store.make_frozen FOLDER
"""

import shutil
import sys
from pathlib import Path

from jdq.store import open_store
from tests.store.fake_features import fake_space, put_texts, sentences

TEXTS = [*sentences(20), "naïve 質問", ""]


def main() -> None:
    folder = Path(sys.argv[1])
    space = open_store(folder / "store").space(fake_space(16, tokenizer="frozen"))
    shutil.copy(space.shard_path(put_texts(space, TEXTS)), folder / "shard-v1.h5")
    shutil.copy(space.path / "space.json", folder / "space-v1.json")


if __name__ == "__main__":
    main()
