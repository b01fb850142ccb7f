"""Tables of random texts for the tests of datasets under faults."""

import random
from pathlib import Path


def write(tmp_path: Path, n: int, name: str = "data.csv") -> Path:
    file = tmp_path / name
    rng = random.Random(n)
    lines = (f"text {i} {rng.random()} {rng.random()},class {i % 3}\n" for i in range(n))
    file.write_text("text,label\n" + "".join(lines))
    return file
