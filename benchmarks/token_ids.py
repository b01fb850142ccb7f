"""Ids of real texts by segments, compared with the Rust tokenizer on whole texts: ``python benchmarks/token_ids.py``.

Job ads and BART's own tokenizer, in tokens per CPU second, because the Rust tokenizer uses all cores and ours one.
"New words" are the first ads that it meets; "more ads" come after as many others; "known words" are the same ads again.
It is unfair to the Rust tokenizer where texts have no spaces: such a text is one segment, and never met again.

Needs the test data (JDQ_TEST_DATA).
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd

from jdq.worker.encoder.segments import FlatIds, flattened
from jdq.worker.encoder.tiny import make_tiny_bart
from jdq.worker.encoder.tokens import FastTokenizer, load_tokenizer, with_special_tokens

DATA = Path(os.environ.get("JDQ_TEST_DATA", "../shared/data"))
ROUNDS = 7


def main() -> None:
    """Prints a line for each state of what is remembered."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_bart(Path(folder) / "bart", dim=16, layers=1, tokenizer=DATA / "bart-tokenizer")
        rust = FastTokenizer(load_tokenizer(model).behaviour)
    ads = pd.read_csv(DATA / "jobs_uk_4cat_776.csv")["Description"].sample(frac=1, random_state=0).tolist()
    half = len(ads) // 2
    whole, new, more, known = (list[float]() for _ in range(4))
    for _ in range(ROUNDS):
        ours = with_special_tokens(rust)
        whole.append(rate(lambda: flattened(rust(ads, True))))
        new.append(rate(lambda ours=ours: ours(ads[:half])))  # type: ignore[misc]
        more.append(rate(lambda ours=ours: ours(ads[half:])))  # type: ignore[misc]
        known.append(rate(lambda ours=ours: ours(ads)))  # type: ignore[misc]
    reference = statistics.median(whole)
    click.echo(f"{len(ads)} job ads, the Rust tokenizer on whole texts: {reference:,.0f} tokens per CPU second")
    for state, rates in (("new words", new), ("more ads", more), ("known words", known)):
        ratios = sorted(ours / theirs for ours, theirs in zip(rates, whole, strict=True))
        click.echo(f"  {state:<11} {statistics.median(ratios):.1f} of its rate ({ratios[0]:.1f} to {ratios[-1]:.1f})")


def rate(tokenize: Callable[[], FlatIds]) -> float:
    """Tokens per CPU second of all threads."""
    began = time.process_time()
    ids, _ = tokenize()
    return len(ids) / (time.process_time() - began)


if __name__ == "__main__":
    main()
