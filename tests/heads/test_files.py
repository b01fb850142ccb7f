import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from jdq.worker.heads.errors import DamagedHead, HeadError, UnsafeHead, WrongFeatures
from jdq.worker.heads.features import with_texts
from jdq.worker.heads.files import _digest, load_head, read_record, save_head
from jdq.worker.heads.options import HEADS, HeadOptions
from jdq.worker.heads.record import Origin
from jdq.worker.heads.train import train_head

SPACE = "ab" * 16
QUICK: dict[str, Any] = {"random-forest": {"n_estimators": 5}, "hist-gbm": {"max_iter": 3}, "mlp": {"max_epochs": 2}}


@pytest.fixture(scope="module")
def trained(made: Any) -> Callable[..., Any]:
    def train(head: str, **options: Any) -> Any:
        asked = HeadOptions(head=head, params=QUICK.get(head, {}), **options)
        return train_head(
            with_texts(made.X, [f"text {row % 7}" for row in range(len(made.X))]),
            made.y,
            made.split,
            asked,
            origin=Origin(space=SPACE),
        )

    return train


def rewrite(data: bytes, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> bytes:
    """A head file whose content was changed by somebody who knows how to make the digest right again."""
    from safetensors.numpy import load

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    content, arrays = json.loads(header["__metadata__"]["head"]), load(data)
    change(content, arrays)
    text = json.dumps(content)
    metadata = header["__metadata__"] | {"head": text, "digest": _digest(text, arrays)}
    return bytes(save(arrays, metadata=metadata))


@pytest.mark.parametrize("head", HEADS)
def test_a_head_comes_back_as_it_was(made: Any, trained: Any, tmp_path: Path, head: str) -> None:
    before = trained(head)
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(before))
    after = load_head(path, space=SPACE)
    assert after.record == before.record == read_record(path)
    X = with_texts(made.X, [f"text {row % 7}" for row in range(len(made.X))])
    assert (after.predict_proba(X) == before.predict_proba(X)).all()


def test_features_of_another_space_are_refused(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(trained("logreg")))
    with pytest.raises(WrongFeatures, match="trained in the feature space abababababab"):
        load_head(path, space="cd" * 16)


def test_every_cut_and_every_flipped_bit_is_found(trained: Any, tmp_path: Path) -> None:
    data = save_head(trained("logreg"))
    path = tmp_path / "head.safetensors"
    rng = np.random.default_rng(0)
    damaged = [data[:size] for size in rng.integers(0, len(data), 50)]
    for place in rng.integers(0, len(data), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DamagedHead):
            load_head(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 64, pickle.dumps({"a": 1}), bytes(save({"x": np.zeros(3)})), b"\x00" * 8 + b"{}"],
    ids=["empty", "ones", "pickle", "other safetensors", "no header"],
)
def test_what_is_no_head_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedHead):
        load_head(path)


def _wide(_content: Any, arrays: Any) -> None:
    arrays["weights.0"] = np.zeros((17, 4), np.float32)


def _not_finite(_content: Any, arrays: Any) -> None:
    arrays["bias.0"][0] = np.nan


def _doubles(_content: Any, arrays: Any) -> None:
    arrays["weights.0"] = arrays["weights.0"].astype(np.float64)


def _more_arrays(_content: Any, arrays: Any) -> None:
    arrays["more"] = np.zeros(1, np.float32)


def _many_layers(content: Any, _arrays: Any) -> None:
    content["settings"]["layers"] = 10**9


def _fewer_classes(content: Any, _arrays: Any) -> None:
    content["record"]["classes"] = ["a", "b"]


def _no_record(content: Any, _arrays: Any) -> None:
    del content["record"]["origin"]


def _other_kind(content: Any, _arrays: Any) -> None:
    content["predictor"] = "os.system"


@pytest.mark.parametrize(
    "change",
    [_wide, _not_finite, _doubles, _more_arrays, _many_layers, _fewer_classes, _no_record, _other_kind],
)
def test_a_crafted_head_is_refused(trained: Any, tmp_path: Path, change: Any) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(rewrite(save_head(trained("logreg")), change))
    with pytest.raises(HeadError):
        load_head(path)


def _with_payload(payload: bytes) -> Callable[[Any, Any], None]:
    def change(_content: Any, arrays: Any) -> None:
        arrays["skops"] = np.frombuffer(payload, dtype=np.uint8)

    return change


class _Evil:
    """Unpickled, it would make a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_a_pickle_in_place_of_the_estimator_is_not_read(trained: Any, tmp_path: Path) -> None:
    path, made_by_pickle = tmp_path / "head.safetensors", tmp_path / "pwned"
    path.write_bytes(rewrite(save_head(trained("knn")), _with_payload(pickle.dumps(_Evil(str(made_by_pickle))))))
    with pytest.raises(UnsafeHead):
        load_head(path)
    assert not made_by_pickle.exists()


def _evil_schema() -> bytes:
    """What skops would run, were the type trusted: `os.system` with an argument."""
    node = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ObjectNode",
        "__id__": 1,
        "content": None,
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(node))
    return buffer.getvalue()


def _compressed(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(payload)) as old:
        for name in old.namelist():
            archive.writestr(name, old.read(name))
    return buffer.getvalue()


def test_types_that_no_head_needs_and_compressed_payloads_are_refused(trained: Any, tmp_path: Path) -> None:
    data = save_head(trained("knn"))
    arrays: dict[str, Any] = {}
    rewrite(data, lambda _, found: arrays.update(found))
    for payload, message in (
        (_evil_schema(), "types that no head needs|cannot be read"),
        (_compressed(arrays["skops"].tobytes()), "compressed"),
    ):
        path = tmp_path / "head.safetensors"
        path.write_bytes(rewrite(data, _with_payload(payload)))
        with pytest.raises(UnsafeHead, match=message):
            load_head(path)


@pytest.mark.parametrize("head", ["random-forest", "hist-gbm"])
def test_a_tree_that_points_outside_of_itself_is_refused(trained: Any, tmp_path: Path, head: str) -> None:
    """scikit-learn's C code follows the numbers of a tree without looking."""
    before = trained(head)
    model = before.predictor.estimator
    if head == "hist-gbm":
        nodes = model._predictors[0][0].nodes
        nodes["left"][~nodes["is_leaf"].astype(bool)] = 2**31
    else:
        tree = model.estimators_[0].tree_
        state = tree.__getstate__()
        state["nodes"]["feature"][state["nodes"]["left_child"] != -1] = 2**31
        tree.__setstate__(state)
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(before))
    with pytest.raises(UnsafeHead, match="points outside"):
        load_head(path)


def test_a_folder_or_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UnsafeHead, match="not a regular file"):
            load_head(path)


@pytest.mark.parametrize("head", ["logreg", "mlp"])
def test_a_head_of_layers_loads_without_torch_or_scikit_learn(trained: Any, tmp_path: Path, head: str) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(trained(head)))
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from jdq.worker.heads.files import load_head\n"
        f"head = load_head(Path({str(path)!r})); head.predict(np.zeros((2, 16), np.float16))\n"
        "print(sorted({'torch', 'sklearn', 'skops', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
