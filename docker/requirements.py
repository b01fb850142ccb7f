"""Writes FOLDER/{build,client,monitoring,worker}.txt: the requirements of each image, from pyproject.toml.

A separate step, so that a change of pyproject.toml which keeps the dependencies also keeps their layers cached.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """``requirements.py PYPROJECT FOLDER``."""
    pyproject, folder = Path(sys.argv[1]), Path(sys.argv[2])
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = settings["project"]
    extras = project["optional-dependencies"]
    client = [*project["dependencies"], *extras["web"], *extras["hub"]]
    lists = {"build": settings["build-system"]["requires"], "client": client}
    lists |= {"monitoring": extras["monitoring"], "worker": [*extras["worker"], *extras["notify"]]}
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
