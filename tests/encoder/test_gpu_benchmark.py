"""`benchmarks/gpu.py` has ten minutes on somebody's GPU: each of its steps must work, which its dry run shows."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_every_step_works_without_a_gpu(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(PROGRAM), "--device", "cpu", "--tiny", "--out", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert list(figures) == ["machine", "correctness", "passes", "end_to_end", "kernels", "others"]
    assert not [step for step in figures.values() for figure in step if "failed" in figure]
    assert all(figure["worst_cosine"] > 0.9999 for figure in figures["correctness"])
