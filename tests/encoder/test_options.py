"""What "auto" means, for every part that computes, and which names the options take."""

import pytest
import torch

from jdq.worker.config import read_config
from jdq.worker.encoder.linear import dtype_of
from jdq.worker.encoder.options import AUTO, FAST, PRECISIONS, automatic_precision, device_kind, parse_poolings


@pytest.mark.parametrize(
    ("device", "precision"), [("cpu", "float32"), ("cuda", "bfloat16"), ("cuda:1", "bfloat16"), ("mps", "float32")]
)
def test_the_automatic_precision_is_one_that_there_is(device: str, precision: str) -> None:
    assert automatic_precision(device) == precision
    assert precision in PRECISIONS


def test_a_user_may_ask_for_every_precision_and_for_the_automatic_one() -> None:
    for precision in (AUTO, FAST, *PRECISIONS):
        assert read_config({"JDQ_PRECISION": precision}).precision == precision


@pytest.mark.parametrize(
    ("devices", "kind"), [([], "cpu"), (["cpu", "cpu"], "cpu"), (["cpu", "cuda:1"], "cuda"), (["cuda"], "cuda")]
)
def test_one_gpu_is_enough_for_a_queue_to_be_of_gpus(devices: list[str], kind: str) -> None:
    assert device_kind(devices) == kind


def test_hidden_states_are_never_in_float16_which_overflows_in_bart() -> None:
    assert {dtype_of(precision) for precision in PRECISIONS} == {torch.float32, torch.bfloat16}


def test_a_list_of_poolings_names_each_once() -> None:
    assert parse_poolings("cls, mean") == ("cls", "mean")
    for text, message in (
        ("max", "no pooling 'max'; choose from: auto, cls, mean"),
        ("cls,", "no pooling ''; choose from: auto, cls, mean"),
        ("mean, mean", "'mean, mean' names a pooling twice"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            parse_poolings(text)
