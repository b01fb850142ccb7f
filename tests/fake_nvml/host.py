"""A host with these GPUs, for tests: what the fake NVML reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def card(letter: str, *, name: str = "NVIDIA H100", **more: Any) -> dict[str, Any]:
    """A GPU `GPU-<letter>...`."""
    return {"uuid": f"GPU-{letter * 8}-0000", "name": name, **more}


def mig_card(letter: str, slices: int) -> dict[str, Any]:
    """A GPU in MIG mode, with this many slices and a place for one more."""
    made = [{"uuid": f"MIG-{letter * 8}-{n}", "name": "NVIDIA H100 MIG 1g.10gb"} for n in range(slices)]
    return card(letter, slices=[*made[:1], None, *made[1:]])


def write_host(file: Path, gpus: Sequence[dict[str, Any]] = (), *, error: str = "") -> Path:
    """Writes the host's file, which a running worker then sees."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"error": error} if error else {"gpus": list(gpus)}), encoding="utf-8")
    return partial.replace(file)
