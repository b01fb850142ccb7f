"""`--dry-run` says what a table holds and what its extraction would cost, and changes nothing."""

import os
from pathlib import Path
from typing import Any

import pytest

from jdq.worker.encoder.tiny import make_tiny_bart
from tests.cli.conftest import CommandLine

TABLE = "text,label\n" + "".join(f"{'word ' * n}{n},{'abc'[n % 3]}\n" for n in (1, 1, 2, 3, 4, 8, 40, 300)) + ",\n"


WITHOUT_TORCH = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *of: None if name.partition(".")[0] == "torch" else find(name, *of)
"""


def dry(jdq: CommandLine, content: str = TABLE, *options: str, encoder: str = "hash:16") -> Any:
    return jdq.json("submit", "extract", jdq.file(content), "--encoder", encoder, "--dry-run", *options)


def test_the_table_is_described(jdq: CommandLine) -> None:
    found = dry(jdq)
    assert found["columns"] == ["text", "label"]
    assert (found["encoding"], found["delimiter"]) == ("utf-8", ",")
    assert (found["rows"], found["texts"], found["repeated"], found["empty_rows"]) == (8, 7, 1, 1)
    assert found["classes"] == {"a": 2, "b": 4, "c": 2}
    assert any("1 empty rows at the end" in warning for warning in found["warnings"])


def test_an_extraction_that_was_never_made_has_no_known_time_or_price(jdq: CommandLine) -> None:
    found = dry(jdq)["extraction"]
    assert found["token_lengths"] == [[16, 3], [32, 1], [64, 1], [128, 0], [256, 1], [512, 0], [1024, 0], [2048, 1]]
    assert (found["truncated"], found["max_length"], found["poolings"]) == (1, 1024, ["cls"])
    assert (found["stored"], found["to_compute"], found["chunks"]) == (0, 7, 1)
    assert found["tokens"] == sum(min(5 * n + len(str(n)), 1024) for n in (1, 2, 3, 4, 8, 40, 300))
    assert (found["tokens_per_s"], found["device_s"], found["wall_s"], found["price"]) == (None, None, None, None)


def test_stored_texts_cost_nothing_and_earlier_jobs_say_how_fast_it_will_be(jdq: CommandLine) -> None:
    job = jdq.extracted("".join(TABLE.splitlines(keepends=True)[:6]))
    counts = jdq.workplace.jobbook.job(job).counts
    jdq.workplace.client.hset(f"jdq:job:{job}", "count:device_ms", 500)
    jdq.settings["JDQ_DEVICE_HOUR_PRICE"] = "7200"
    found = dry(jdq)["extraction"]
    assert (found["stored"], found["to_compute"]) == (4, 3)
    rate = counts["tokens"] / 0.5
    assert found["tokens_per_s"] == rate
    assert found["device_s"] == found["wall_s"] == found["tokens"] / rate
    assert found["price"] == pytest.approx(found["device_s"] * 2)
    again = dry(jdq, "".join(TABLE.splitlines(keepends=True)[:6]))["extraction"]
    assert (again["to_compute"], again["tokens"], again["chunks"], again["device_s"]) == (0, 0, 0, 0)
    other = dry(jdq, TABLE, "--max-length", "9")["extraction"]
    assert (other["stored"], other["tokens"]) == (0, 6 + 6 * 9)


def test_nothing_is_written_and_redis_need_not_run(jdq: CommandLine, tmp_path: Path) -> None:
    jdq.settings.update(JDQ_BROKER_URL="redis://127.0.0.1:1", JDQ_STORE=str(tmp_path / "new"))
    file = jdq.file(TABLE)
    text = jdq.run("submit", "extract", file, "--encoder", "hash:16", "--dry-run").stdout
    assert "8 rows, 7 different texts, 1 repeated" in text
    assert ["<=", "16", "3", "#" * 40] in [line.split() for line in text.splitlines()]
    assert "0 stored, 7 texts to compute with hash:16: 1,321 tokens in 1 chunk\n" in text
    assert text.endswith("time: not known: no extraction with this encoder has been run; price: not known\n")
    assert "text column text, label column label" in jdq.run("import", file, "--dry-run").stderr
    assert not (tmp_path / "new").exists()


def test_an_import_is_described_without_an_extraction(jdq: CommandLine) -> None:
    found = jdq.json("import", jdq.file(TABLE), "--dry-run")
    assert (found["rows"], found["extraction"]) == (8, None)
    assert "tokens" not in jdq.run("import", jdq.file(TABLE), "--dry-run").stdout
    assert jdq.workplace.store.datasets.names() == []


def test_many_classes_are_counted_and_not_all_shown(jdq: CommandLine) -> None:
    table = "text,label\n" + "".join(f"text {n},class {n % 25:02}\n" for n in range(75))
    shown = jdq.run("import", jdq.file(table), "--dry-run").stdout
    assert "class 19" in shown
    assert "class 20" not in shown
    assert shown.endswith("and 5 more\n")


def test_a_bad_table_is_refused_with_the_command_as_it_was_typed(jdq: CommandLine) -> None:
    file = jdq.file("text,label\nx,1\n,0\n")
    error = jdq.run("submit", "extract", file, "--dry-run", code=2).stderr
    assert error.endswith(f"try: jdq submit extract --dry-run {file} --skip-empty\n")
    assert "--json is for --dry-run" in jdq.run("import", file, "--json", code=2).stderr


def test_without_the_workers_packages_it_says_what_is_missing(
    jdq: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.cli.submit.dry_run.missing_packages", lambda *_: ["torch", "transformers"])
    shown = jdq.run("submit", "extract", jdq.file(TABLE), "--encoder", "some/bart", "--dry-run").stdout
    assert "8 rows" in shown
    assert "not known without torch and transformers\n  try: pip install 'jdq[worker]'" in shown


def test_without_torch_the_tokens_of_a_bart_are_counted_and_of_another_encoder_not(
    jdq: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bart = make_tiny_bart(tmp_path / "bart", dim=32, layers=1)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    command = ("submit", "extract", jdq.file(TABLE), "--dry-run", "--encoder")
    assert jdq.json(*command, str(bart))["extraction"]["tokens"] > 0
    config = bart / "config.json"
    config.write_text(config.read_text().replace('"bart"', '"roberta"').replace("BartModel", "RobertaModel"))
    assert jdq.json(*command, str(bart))["extraction"] is None


def test_tokens_of_a_real_encoder_are_counted_by_its_tokenizer(jdq: CommandLine, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = make_tiny_bart(tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = dry(jdq, TABLE, "--pooling", "cls,mean", encoder=str(folder))["extraction"]
    lengths = [len(tokenizer(f"{'word ' * n}{n}")["input_ids"]) for n in (1, 2, 3, 4, 8, 40, 300)]
    assert found["poolings"] == ["cls", "mean"]
    assert found["tokens"] == sum(min(length, found["max_length"]) for length in lengths)
    assert sum(texts for _, texts in found["token_lengths"]) == 7


def test_an_unknown_encoder_is_an_error(jdq: CommandLine) -> None:
    jdq.run("submit", "extract", jdq.file(TABLE), "--encoder", "hash:no", "--dry-run", code=2)
