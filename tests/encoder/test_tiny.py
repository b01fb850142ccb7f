"""The tiny BART is small, reproducible, and its tokenizer works like the real one."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tiny import main, make_tiny_bart, vocabulary_of
from tests.bart_tokenizer import train_merges

DEMO_TABLE = Path(__file__).parents[2] / "demo" / "jobs.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bart(tmp_path_factory.mktemp("tiny"), dim=32, layers=1)


def test_the_tokenizer_has_as_many_entries_as_the_model_and_keeps_every_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert len(tokenizer) == config["vocab_size"]
    text = "Nurse (m/f/d), Łódź 38 h/week 🚑\n안녕"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == 0
    assert ids[-1] == 2
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text


def test_the_special_tokens_have_the_ids_of_bart(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    last = len(tokenizer) - 1
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, last]


def test_its_sizes_follow_from_its_width_and_layers(tmp_path: Path) -> None:
    folder = make_tiny_bart(tmp_path, dim=32, layers=1)
    config = json.loads((folder / "config.json").read_text())
    for half in ("encoder", "decoder"):
        sizes = [config[f"{half}_{name}"] for name in ("layers", "attention_heads", "ffn_dim")]
        assert sizes == [1, 2, 128]
    assert (config["d_model"], config["architectures"]) == (32, ["BartModel"])


def test_words_outweigh_layers_and_values_pass_through_rotations(tmp_path: Path) -> None:
    weights = load_file(make_tiny_bart(tmp_path, dim=32, layers=1) / "model.safetensors")
    layer = "encoder.layers.0"
    assert weights["shared.weight"].std() == pytest.approx(1, rel=0.02)
    assert weights[f"{layer}.fc1.weight"].std() == pytest.approx(0.3 / 32**0.5, rel=0.1)
    assert weights["encoder.embed_positions.weight"].std() == pytest.approx(0.02, rel=0.05)
    for name in ("v_proj", "out_proj"):
        rotation = weights[f"{layer}.self_attn.{name}.weight"]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(32), atol=1e-5)


def test_its_features_see_the_words_of_a_text(folder: Path) -> None:
    encoder = load_encoder(str(folder))
    nurse, again, driver = encoder.encode(encoder.tokenize(["a nurse at night", "at night a nurse", "drive a truck"]))
    assert np.linalg.norm(nurse - again) < 0.7 * np.linalg.norm(nurse - driver)
    assert np.linalg.norm(nurse - driver) > 0.2 * np.linalg.norm(nurse)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_bytes(tmp_path: Path, folder: Path) -> None:
    again = make_tiny_bart(tmp_path / "again", dim=32, layers=1)
    other = make_tiny_bart(tmp_path / "other", dim=32, layers=1, seed=1)
    weights = "model.safetensors"
    assert (again / weights).read_bytes() == (folder / weights).read_bytes()
    assert (other / weights).read_bytes() != (folder / weights).read_bytes()
    assert {f.name: f.read_bytes() for f in again.iterdir()} == {f.name: f.read_bytes() for f in folder.iterdir()}


def test_the_shipped_merges_are_those_learned_from_the_demo_table(folder: Path) -> None:
    shipped = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    if DEMO_TABLE.is_file():
        assert train_merges(DEMO_TABLE.read_text(encoding="utf-8").splitlines(), 4_000) == shipped
    assert len(vocabulary_of(shipped)) == 4_000


def test_a_width_that_the_heads_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 16, not 40"):
        make_tiny_bart(tmp_path / "x", dim=40)
    assert not (tmp_path / "x").exists()


def test_the_command_prints_the_folder_alone_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"dim": 16, "layers": 1, "seed": 3}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main([str(tmp_path / "t"), *words]) == 0
    printed = capsys.readouterr()
    weights = "model.safetensors"
    same = make_tiny_bart(tmp_path / "same", dim=16, layers=1, seed=3)
    assert (tmp_path / "t" / weights).read_bytes() == (same / weights).read_bytes()
    assert (same / weights).stat().st_mode & 0o777 == 0o644  # workers may be another user
    assert printed.out == f"{tmp_path / 't'}\n"
    assert "random" in printed.err
