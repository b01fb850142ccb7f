"""Errors name the texts, the number of them and the next step."""

import pytest

from jdq.worker.encoder.errors import NotFiniteFeatures, OutOfMemory


@pytest.mark.parametrize(("count", "named"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, ...")])
def test_five_texts_without_a_finite_feature_are_named(count: int, named: str) -> None:
    error = NotFiniteFeatures(range(count), "bfloat16")
    assert error.positions == tuple(range(count))
    assert str(error) == (
        f"{count} features are not finite: those of the texts at positions {named} (computed in bfloat16)\n"
        "  the weights are damaged, or their values too large for this precision: try --precision float32"
    )


def test_the_text_that_does_not_fit_is_named() -> None:
    assert str(OutOfMemory(3, 900, "cuda:0")) == (
        "out of memory on cuda:0 for the single text at position 3 (900 tokens)"
    )
