"""The main job, with real processes, a full-size tokenizer and real texts: a CSV, features, a head, a prediction."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from jdq.store import open_store
from tests.stack.conftest import JDQ, Stack
from tests.waiting import until
from tests.written_tables import delimited, postings


@pytest.fixture(scope="session")
def tiny_bart(tmp_path_factory: pytest.TempPathFactory, bart_tokenizer: Path) -> Path:
    """A tiny BART with random weights and a tokenizer of the full size, made by the command."""
    folder = tmp_path_factory.mktemp("models") / "tiny-bart"
    subprocess.run([JDQ, "model", "tiny", str(folder), "--tokenizer", str(bart_tokenizer)], check=True)
    return folder


def own_loop(folder: Path, texts: list[str]) -> np.ndarray:
    """The definition: Hugging Face's encoder, one text at a time, position 0."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder).get_encoder().eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            tokens = tokenizer(text, truncation=True, max_length=1024, split_special_tokens=True, return_tensors="pt")
            rows.append(encoder(**tokens).last_hidden_state[0, 0].numpy())
    return np.array(rows)


def submitted(stack: Stack, *arguments: str) -> str:
    """The id that `jdq submit` printed: its whole standard output."""
    [job] = stack.run("submit", *arguments).stdout.split()
    return job


def test_features_are_hugging_faces_and_a_head_is_trained_from_them(
    shared_stack: Stack, tiny_bart: Path, tmp_path: Path
) -> None:
    stack = shared_stack
    rows = [(posting["title"], posting["text"], posting["label"]) for posting in postings()[:120]]
    file = tmp_path / "postings.csv"
    file.write_text(delimited([("Title", "Description", "Category"), *rows]), encoding="utf-8")
    extraction = submitted(stack, "extract", str(file), "--text-column", "Description", "--encoder", str(tiny_bart))
    head = submitted(stack, "train-head", "--wait")  # waits for the extraction by itself

    status = stack.json("status", extraction)
    assert {key: status[key] for key in ("job", "kind", "state", "texts_done", "texts_total")} == {
        "job": extraction,
        "kind": "extract",
        "state": "succeeded",
        "texts_done": 120,
        "texts_total": 120,
    }
    X, y, texts = open_store(stack.home / "store").load("postings")
    expected = own_loop(tiny_bart, texts)
    np.testing.assert_allclose(X.astype(np.float32), expected, atol=1e-5, rtol=1e-3)  # float16 keeps 11 bits
    assert (len(y), len(set(y))) == (120, 7)

    result = stack.json("result", head)
    assert result["kind"] == "train-head"
    assert result["metrics"]["accuracy"] > 0.25  # labels beside the wrong features reach about 0.15
    answer = json.loads(stack.run("predict", "Senior chef for a busy kitchen", "--head", head, "--json").stdout)
    assert set(answer["probabilities"]) == set(y)
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert "accuracy" in stack.run("result", head).stdout


def test_the_same_texts_in_another_file_and_order_are_reused(
    shared_stack: Stack, tiny_bart: Path, tmp_path: Path
) -> None:
    rows = [("We need a nurse.", "care"), ("Drive a truck at night.", "road"), ("Cook for sixty guests.", "food")]
    first, other = tmp_path / "first.csv", tmp_path / "other.csv"
    for file, written in ((first, rows), (other, [*reversed(rows), ("Teach maths.", "care")])):
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *written])
    for file, computed, reused in ((first, 3, 0), (first, 0, 3), (other, 1, 3)):
        job = submitted(shared_stack, "extract", str(file), "--encoder", str(tiny_bart), "--wait")
        result = shared_stack.json("result", job)
        assert (result["computed"], result["reused"]) == (computed, reused)
        path = " by the packed path" if computed else ""
        assert f"{computed} computed{path}, {reused} reused" in shared_stack.run("result", job).stdout


def test_an_mlp_is_a_head_too(shared_stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "mlp.csv"
    file.write_text("text,label\n" + "".join(f"text number {n},{'ab'[n % 2]}\n" for n in range(60)))
    submitted(shared_stack, "extract", str(file), "--encoder", "hash:16")
    job = submitted(shared_stack, "train-head", "mlp", "--head", "mlp", "--wait")
    assert shared_stack.json("result", job)["head"] == "mlp"


def test_an_encoder_that_cannot_be_downloaded_fails_the_job_with_what_to_do(
    shared_stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "offline.csv"
    file.write_text("text,label\na,x\nb,y\n")
    began = time.monotonic()
    failed = shared_stack.run("submit", "extract", str(file), "--encoder", "nobody/no-such-model", "--wait", code=1)
    assert time.monotonic() - began < 60
    assert "nobody/no-such-model" in failed.stderr
    assert "jdq model tiny" in failed.stderr
    job = failed.stdout.strip()
    assert shared_stack.json("status", job)["state"] == "failed"
    shared_stack.run("result", job, code=1)
    assert f"try: jdq status {job}" in shared_stack.run("submit", "train-head", "offline", code=2).stderr


def test_a_worker_killed_in_mid_extraction_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    from jdq.worker.encoder.hashing import hashed_feature

    texts = [f"posting number {n} of a company [slow]" for n in range(400)]
    file = tmp_path / "killed.csv"
    file.write_text("text,label\n" + "".join(f"{text},{'ab'[n % 2]}\n" for n, text in enumerate(texts)))
    stack.run("up")
    job = submitted(stack, "extract", str(file), "--encoder", "hash:16")
    until(lambda: 50 <= stack.json("status", job)["texts_done"] < 350, why="the extraction is in its middle")
    [worker] = [w for w in stack.json("workers") if w["queue"] == "gpu"]
    assert worker["state"] == "busy"
    os.kill(worker["pid"], signal.SIGKILL)
    ended = stack.run("watch", job, "--json")
    status = json.loads(ended.stdout.splitlines()[-1])
    assert status["state"] == "succeeded"
    assert any("SIGKILL" in attempt["reason"] for attempt in status["attempts"]), status["attempts"]
    X, _, stored = open_store(stack.home / "store").load("killed")
    assert stored == texts
    np.testing.assert_array_equal(X, np.array([hashed_feature(text, 16) for text in texts], dtype=np.float16))
