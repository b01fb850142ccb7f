import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jdq.worker.encoder.errors import DamagedEncoder, EncoderNotFound
from jdq.worker.finetune.errors import BadOption, DamagedModel
from jdq.worker.finetune.model import load_fine_tuned, read_fine_tune_record
from jdq.worker.finetune.network import load_classifier
from jdq.worker.heads.errors import BadSplit


@pytest.fixture(scope="module")
def done(case: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("done")
    return folder, case.run(folder, epochs=6, learning_rate=5e-3)


def test_it_learns_and_says_how_well(done: tuple[Path, Any]) -> None:
    record = done[1]
    assert record.metrics["accuracy"] > 0.8
    assert record.metrics["rows"] == record.rows["test"] and record.classes == ("cook", "driver", "nurse")
    assert len(record.history) == 6 and len(record.step_losses) == record.steps
    assert record.history[-1]["validation_loss"] < record.history[0]["validation_loss"]
    assert record.certainty is not None and record.certainty.rows == record.rows["validation"]
    low, high = record.intervals["accuracy"]
    assert low <= record.metrics["accuracy"] <= high
    assert record.resumed == 0 and record.training_time_s > 0
    json.dumps(msgspec.to_builtins(record), allow_nan=False)


def test_a_line_is_logged_for_each_validation_and_for_some_steps(
    case: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "jdq.worker.finetune"):
        record = case.run(tmp_path, epochs=2)
    lines = [entry.getMessage() for entry in caplog.records]
    validations = [line for line in lines if line.startswith("validation after epoch ")]
    assert [line.split()[3] for line in validations] == ["1.00,", "2.00,"]
    assert all("loss " in line and "macro_f1 " in line for line in validations)
    assert f"step {record.steps}/{record.steps}, epoch 2.00, loss " in "\n".join(lines)


def test_the_folder_is_a_plain_hugging_face_folder(case: Any, done: tuple[Path, Any]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = done[0] / "model"
    ours = load_fine_tuned(folder, device="cpu")
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, row in zip(case.texts[:4], ours.predict_proba(case.texts[:4]), strict=True):
        with torch.no_grad():
            logits = network(**tokenizer(text, return_tensors="pt", truncation=True, max_length=48)).logits
        assert torch.softmax(logits, dim=1).numpy()[0] == pytest.approx(row, abs=1e-5)
    assert network.config.id2label == {0: "cook", 1: "driver", 2: "nurse"}
    assert not [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_record_in_the_folder_is_what_was_returned(done: tuple[Path, Any]) -> None:
    assert read_fine_tune_record(done[0] / "model") == done[1]


def test_its_metrics_are_those_of_its_predictions(case: Any, done: tuple[Path, Any]) -> None:
    rows = np.flatnonzero(case.split.parts == 2)
    predicted = load_fine_tuned(done[0] / "model", device="cpu").predict([case.texts[row] for row in rows])
    right = np.mean([p == case.labels[row] for p, row in zip(predicted, rows, strict=True)])
    assert right == pytest.approx(done[1].metrics["accuracy"])


def test_the_checkpoints_are_gone_when_the_model_stands(done: tuple[Path, Any]) -> None:
    assert list((done[0] / "checkpoints").iterdir()) == []


def test_the_fine_tuned_model_can_be_an_encoder(case: Any, done: tuple[Path, Any]) -> None:
    from jdq.worker.encoder.identity import read_files

    before, after = (
        read_files(folder, max_length=None, precision="float32").identity
        for folder in (case.encoder, done[0] / "model")
    )
    assert before.dim == after.dim and before.tokenizer == after.tokenizer and before.weights != after.weights


def test_special_tokens_in_texts_are_plain_text(case: Any, tmp_path: Path) -> None:
    """BART's classifier refuses a batch whose rows have different numbers of `</s>`."""
    texts = [text + " </s> <s> <pad> <mask>" * (i % 2) for i, text in enumerate(case.texts)]
    record = dataclasses.replace(case, texts=texts).run(tmp_path, epochs=1)
    assert record.steps > 0
    model = load_fine_tuned(tmp_path / "model", device="cpu")
    assert model.predict_proba(["a chef </s>", "a chef"]).shape == (2, 3)


def test_predictions_do_not_depend_on_what_else_is_in_the_batch(case: Any, done: tuple[Path, Any]) -> None:
    model = load_fine_tuned(done[0] / "model", device="cpu")
    together = model.predict_proba(case.texts)
    for row in (0, 17, 71):
        assert model.predict_proba([case.texts[row]])[0] == pytest.approx(together[row], abs=1e-5)


def test_what_is_frozen_stays_as_it_was(case: Any, tmp_path: Path) -> None:
    before = load_file(case.encoder / "model.safetensors")
    for freeze, inside in (("encoder", "model.encoder."), ("1", "model.encoder.layers.0.")):
        record = case.run(tmp_path / freeze, epochs=1, freeze=freeze)
        after = load_file(tmp_path / freeze / "model" / "model.safetensors")
        for name, weight in after.items():
            old = before.get(name.removeprefix("model."))
            frozen = name.startswith(inside) or name.endswith("shared.weight")
            # Attention is the same for any bias of its keys: no gradient reaches it.
            assert old is None or np.array_equal(weight, old) == frozen or name.endswith("k_proj.bias"), name
        assert record.options.freeze == freeze


def test_low_rank_updates_are_merged_into_a_plain_model(case: Any, tmp_path: Path) -> None:
    case.run(tmp_path, epochs=1, lora=4)
    before, after = load_file(case.encoder / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    assert {name.removeprefix("model.") for name in after if name.startswith("model.")} <= set(before)
    moved = {name for name in after if name.startswith("model.") and not np.array_equal(after[name], before[name[6:]])}
    assert moved and all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in moved)
    rank = np.linalg.matrix_rank(after[min(moved)] - before[min(moved)[6:]], tol=1e-6)
    assert 0 < rank <= 4


def test_early_stopping_ends_before_the_last_epoch(case: Any, tmp_path: Path) -> None:
    record = case.run(tmp_path, epochs=6, learning_rate=1e-7, early_stopping=1)
    assert len(record.history) < 6 and record.best_step == record.history[0]["step"]


def test_label_sets_are_learnt(case: Any, tmp_path: Path) -> None:
    sets = dataclasses.replace(case, labels=["work|" + label for label in case.labels])
    record = sets.run(tmp_path, epochs=4, label_separator="|", learning_rate=5e-3)
    assert record.multi_label and record.classes == ("cook", "driver", "nurse", "work")
    assert record.metrics["per_class"][3]["f1"] == 1
    assert all("work" in names for names in load_fine_tuned(tmp_path / "model", device="cpu").predict(case.texts[:5]))


def test_the_same_seed_gives_the_same_model(case: Any, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        case.run(tmp_path / name, epochs=1, seed=seed)
    first, again, other = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("first", "again", "other"))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_a_split_without_a_validation_part_keeps_the_last_epoch(case: Any, tmp_path: Path) -> None:
    parts = np.where(case.split.parts == 1, 0, case.split.parts).astype(np.uint8)
    record = dataclasses.replace(case, split=dataclasses.replace(case.split, parts=parts)).run(tmp_path, epochs=1)
    assert record.validation_metrics is None and record.best_step == record.steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 5}, "learning rate is 5"),
        ({"freeze": "half"}, "--freeze half"),
        ({"freeze": "9"}, "--freeze 9: the model has 1 layers"),
        ({"lora": 4, "freeze": "encoder"}, "--lora freezes"),
    ],
)
def test_options_that_make_no_sense_are_refused(case: Any, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        case.run(tmp_path, **options)
    assert not (tmp_path / "model").exists()


def test_a_missing_encoder_a_short_split_and_a_folder_that_is_no_model_are_refused(case: Any, tmp_path: Path) -> None:
    with pytest.raises(EncoderNotFound):
        dataclasses.replace(case, encoder=tmp_path / "nowhere").run(tmp_path)
    with pytest.raises(BadSplit, match="71 texts, 72 labels"):
        dataclasses.replace(case, texts=case.texts[1:]).run(tmp_path)
    with pytest.raises(DamagedModel, match="jdq did not fine-tune"):
        load_fine_tuned(case.encoder, device="cpu")


def test_a_model_that_stands_already_is_the_result_and_another_one_is_refused(case: Any, tmp_path: Path) -> None:
    first = case.run(tmp_path, epochs=1)
    reports: list[Any] = []
    assert case.run(tmp_path, epochs=1, report=reports.append) == first and not reports
    with pytest.raises(BadOption, match="holds another fine-tune"):
        case.run(tmp_path, epochs=2)


def test_a_folder_without_the_decoder_that_its_classifier_uses_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=20)).save_pretrained(
        tmp_path
    )
    lacks = "lacks 15 weights of a T5ForSequenceClassification, such as transformer.decoder.block.0"
    with pytest.raises(DamagedEncoder, match=lacks):
        load_classifier(tmp_path, ("a", "b"), multi_label=False, seed=0)


def test_a_pooler_that_a_folder_lacks_is_initialized(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(**sizes, vocab_size=20)).save_pretrained(tmp_path)
    assert load_classifier(tmp_path, ("a", "b"), multi_label=False, seed=0).num_labels == 2
