import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jdq.worker.finetune import watch
from jdq.worker.finetune.checkpoints import MANIFEST, Elapsed, is_complete, last_complete, read_manifest, write_manifest
from jdq.worker.finetune.errors import StopAfterCheckpoint


class Killed(Exception):
    """Simulates the end of the process."""


def stop_at(step: int, error: type[Exception]) -> Any:
    def report(progress: Any) -> None:
        if progress.step == step:
            raise error

    return report


@pytest.fixture(scope="module")
def undisturbed(case: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    record = case.run(folder)
    return record, load_file(folder / "model" / "model.safetensors")


def assert_equal_weights(folder: Path, expected: dict[str, np.ndarray]) -> None:
    found = load_file(folder / "model" / "model.safetensors")
    assert all(np.abs(found[name] - expected[name]).max() < 1e-6 for name in expected)


@pytest.mark.parametrize("step", [3, 7, 10])
def test_a_killed_training_goes_on_and_ends_as_the_undisturbed_one(
    case: Any, tmp_path: Path, undisturbed: Any, step: int
) -> None:
    """With a checkpoint after every step; 14 steps in all, 7 an epoch."""
    record, weights = undisturbed
    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0, report=stop_at(step, Killed))
    assert not (tmp_path / "model").exists()
    steps: list[int] = []
    again = case.run(tmp_path, report=lambda progress: steps.append(progress.step))
    assert steps[0] == step and again.resumed == 1
    assert again.metrics == record.metrics and again.history == record.history
    assert_equal_weights(tmp_path, weights)


def test_a_training_killed_while_it_evaluates_an_epoch_evaluates_it_again(
    case: Any, tmp_path: Path, undisturbed: Any
) -> None:
    """With a checkpoint due at every step: none may be complete before the epoch's evaluation is in it."""
    record, weights = undisturbed

    def stop(progress: Any) -> None:
        if progress.phase == "evaluate":
            raise Killed

    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0, report=stop)
    assert case.run(tmp_path).history == record.history
    assert_equal_weights(tmp_path, weights)


def test_a_training_killed_while_it_saves_a_checkpoint_goes_on_from_the_one_before(
    case: Any, tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_all_but_one(checkpoint: Path, elapsed: Elapsed) -> None:
        if checkpoint.name == "checkpoint-10":
            raise Killed
        write_manifest(checkpoint, elapsed)

    monkeypatch.setattr(watch, "write_manifest", write_all_but_one)
    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0)
    monkeypatch.undo()
    steps: list[int] = []
    case.run(tmp_path, report=lambda progress: steps.append(progress.step))
    assert steps[0] == 10
    assert_equal_weights(tmp_path, undisturbed[1])


def test_the_newest_checkpoint_and_the_best_are_kept(case: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0, report=stop_at(12, Killed))
    (checkpoint_dir,) = (tmp_path / "checkpoints").iterdir()
    assert sorted(path.name for path in checkpoint_dir.iterdir()) == ["checkpoint-11", "checkpoint-7"]


def test_a_training_killed_twice_counts_both_processes(case: Any, tmp_path: Path, undisturbed: Any) -> None:
    for step in (4, 9):
        with pytest.raises(Killed):
            case.run(tmp_path, checkpoint_every_s=0.0, report=stop_at(step, Killed))
    record = case.run(tmp_path)
    assert record.resumed == 2
    assert_equal_weights(tmp_path, undisturbed[1])


def test_a_stop_on_request_saves_a_checkpoint_first(case: Any, tmp_path: Path, undisturbed: Any) -> None:
    with pytest.raises(StopAfterCheckpoint):
        case.run(tmp_path, report=stop_at(5, StopAfterCheckpoint))
    (checkpoint_dir,) = (tmp_path / "checkpoints").iterdir()
    newest = last_complete(checkpoint_dir)
    assert newest is not None and newest.name == "checkpoint-5"
    case.run(tmp_path)
    assert_equal_weights(tmp_path, undisturbed[1])


@pytest.mark.parametrize("damage", ["truncated", "no manifest", "no file", "flipped bit"])
def test_an_incomplete_checkpoint_is_skipped(case: Any, tmp_path: Path, undisturbed: Any, damage: str) -> None:
    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0, report=stop_at(6, Killed))
    (checkpoint_dir,) = (tmp_path / "checkpoints").iterdir()
    newest = last_complete(checkpoint_dir)
    assert newest is not None and newest.name == "checkpoint-5"
    optimizer = newest / "optimizer.pt"
    if damage == "truncated":
        os.truncate(optimizer, optimizer.stat().st_size // 2)
    elif damage == "no manifest":
        (newest / MANIFEST).unlink()
    elif damage == "flipped bit":
        data = bytearray(optimizer.read_bytes())
        data[len(data) // 2] ^= 1
        optimizer.write_bytes(data)
    else:
        optimizer.unlink()
    steps: list[int] = []
    case.run(tmp_path, report=lambda progress: steps.append(progress.step))
    assert steps[0] == 5  # from checkpoint-4
    assert_equal_weights(tmp_path, undisturbed[1])


def test_other_options_or_texts_start_from_the_beginning(case: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        case.run(tmp_path, checkpoint_every_s=0.0, report=stop_at(5, Killed))
    for other, options in ((case, {"seed": 9}), (dataclasses.replace(case, texts=case.texts[::-1]), {})):
        steps: list[int] = []
        with pytest.raises(Killed):
            other.run(tmp_path, report=lambda p, steps=steps: steps.append(p.step) or stop_at(2, Killed)(p), **options)
        assert steps[0] == 1


def test_a_manifest_keeps_what_was_spent_and_a_change_breaks_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "weights").write_bytes(b"12345")
    assert not is_complete(checkpoint)
    elapsed = Elapsed(training_time_s=1.5, resumed=2)
    write_manifest(checkpoint, elapsed)
    assert is_complete(checkpoint) and read_manifest(checkpoint).elapsed == elapsed
    (checkpoint / "weights").write_bytes(b"1234")
    assert not is_complete(checkpoint) and last_complete(tmp_path) is None and not checkpoint.exists()


def test_a_checkpoint_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "weights").write_bytes(b"12345")
    written = '{"sizes": {"weights": 5}, "facts": {"training_time_s": 1.5, "resumed": 1.0}}'
    (checkpoint / "jdq-seal.json").write_text(written)
    assert last_complete(tmp_path) == checkpoint
    assert read_manifest(checkpoint).elapsed == Elapsed(training_time_s=1.5, resumed=1)


@pytest.mark.slow
def test_kill_minus_nine_at_any_moment(case: Any, tmp_path: Path, undisturbed: Any) -> None:
    """A process of its own, killed wherever it is; in the middle of a checkpoint, for one."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch; torch.set_num_threads(int(sys.argv[3]))\n"
        "from pathlib import Path; import msgspec, numpy as np\n"
        "from jdq.worker.finetune.finetune import finetune\n"
        "from jdq.worker.finetune.options import FineTuneOptions\n"
        "from jdq.worker.heads.split import Split\n"
        "data = msgspec.json.decode(Path(sys.argv[1]).read_bytes())\n"
        "folder = Path(sys.argv[2])\n"
        "split = Split.from_json(np.array(data['parts'], dtype=np.uint8), data['split'])\n"
        "options = msgspec.convert(data['options'], FineTuneOptions)\n"
        "finetune(data['texts'], data['labels'], split, options, checkpoints_dir=folder / 'checkpoints',\n"
        "         output_dir=folder / 'model', device='cpu', report=lambda p: print(p.step, flush=True))\n"
    )
    import msgspec

    options = {"encoder": str(case.encoder), "epochs": 2, "learning_rate": 2e-3, "batch_size": 8, "warmup": 0.0}
    options |= {"max_length": 48, "checkpoint_every_s": 0.0}
    data = {"texts": case.texts, "labels": case.labels, "options": options}
    data |= {"parts": case.split.parts.tolist(), "split": case.split.to_json()}
    (tmp_path / "data.json").write_bytes(msgspec.json.encode(data))
    # The order of a sum depends on the number of threads, so the weights do.
    command = [sys.executable, str(program), str(tmp_path / "data.json"), str(tmp_path), str(torch.get_num_threads())]
    rng = np.random.default_rng(0)
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(rng.uniform(0.0, 0.4)))  # a kill at any moment of the steps after the first
            process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    assert_equal_weights(tmp_path, undisturbed[1])
