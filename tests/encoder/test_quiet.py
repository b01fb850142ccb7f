"""While jdq loads a model, transformers says nothing; afterwards it is as it was."""

from collections.abc import Iterator

import pytest
from transformers.utils import logging

from jdq.worker.encoder.quiet import quiet_transformers


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(verbosity)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


@pytest.mark.parametrize("bars", [True, False])
def test_only_errors_are_logged_inside_and_the_settings_come_back_even_after_an_error(bars: bool) -> None:
    logging.set_verbosity(logging.INFO)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    with pytest.raises(KeyError), quiet_transformers():
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
        raise KeyError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.INFO, bars)
