import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.files import save_head
from jdq.worker.heads.options import HEADS, HeadOptions
from jdq.worker.heads.train import train_head

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "heads.md"


@pytest.mark.parametrize("head", ["logreg", "linear-svm", "mlp"])
def test_the_documented_lines_predict_outside_of_jdq(
    made: Any, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train_head(made.X, made.y, made.split, HeadOptions(head=head))
    (tmp_path / "head.safetensors").write_bytes(save_head(trained))
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) == 5
    names: dict[str, Any] = {"features": made.X}
    exec(program, names)
    assert np.array(trained.classes)[names["predicted"]].tolist() == trained.predict(made.X)


def test_every_head_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == set(HEADS)
