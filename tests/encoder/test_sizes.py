"""Sizes that a config claims: absurd ones are refused before anything is built from them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jdq.worker.encoder.errors import DamagedEncoder
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.sizes import check_sizes
from jdq.worker.encoder.weights import StoredTensor
from jdq.worker.finetune.network import load_classifier


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder_layers": 10**7}, "claims encoder_layers = 10,000,000, but the weights are "),
        ({"decoder_layers": 10**7}, "claims decoder_layers = 10,000,000, but the weights are "),
        ({"model_type": "bert", "num_hidden_layers": 10**7}, "claims num_hidden_layers = 10,000,000, but the weights"),
        ({"vocab_size": 10**12}, "claims vocab_size = 1,000,000,000,000, but no weight has more than "),
        ({"max_position_embeddings": 10**9}, "claims max_position_embeddings = 1,000,000,000, but no weight"),
        ({"text_config": {"n_layer": 2000}}, "claims n_layer = 2,000, but the weights are "),
    ],
)
def test_an_absurd_size_is_refused_before_the_network_is_built(
    tiny: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(DamagedEncoder, match=message):
        load_encoder(str(folder))
    with pytest.raises(DamagedEncoder, match=message):
        load_classifier(folder, ("a", "b"), multi_label=False, seed=0)


def test_sizes_that_the_weights_have_and_plausible_ones_pass() -> None:
    def weights(count: int, rows: int) -> Any:
        return {str(n): StoredTensor(dtype="F32", shape=(rows, 2), data=memoryview(b"")) for n in range(count)}

    check_sizes({"n_layers": 1000, "vocab_size": 2**24}, weights(1, 1))
    check_sizes({"n_layers": 1500, "hidden_size": 2**25}, weights(1500, 2**25))
    check_sizes({"layer_norm_eps": 1e9, "n_other": 10**9, "layers_used": [10**9]}, weights(1, 1))
    check_sizes({}, {})  # type: ignore[arg-type]
    with pytest.raises(DamagedEncoder, match=r"no weight has more than 0 rows$"):
        check_sizes({"vocab_size": 2**24 + 1}, {})  # type: ignore[arg-type]
    for name, value in (("n_layers", 1501), ("hidden_size", 2**25 + 1)):
        with pytest.raises(DamagedEncoder):
            check_sizes({name: value}, weights(1500, 2**25))
