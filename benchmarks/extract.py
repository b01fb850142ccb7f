"""How fast features are made, compared with the ways that people use today.

    python benchmarks/extract.py [--quick] [--shape base|large] [--device cpu|cuda] [--threads N]

Random weights in BART's published shapes; lengths drawn from real job descriptions. All ways process the same texts and
take turns; each figure is the median of the rounds, each ratio the median of the rounds' ratios. Needs torch,
transformers and numpy; sentence-transformers, the store and, on a CPU, the engines of extract_engines.py are measured
where they can be imported.

Caveats: the texts are already token ids, so no way includes tokenizing; and where MKL is slow (on AMD processors),
part of the gain on the CPU is oneDNN's product, which the first rows show. Other ways run one batch at a time, with all
threads; random weights say little about the cosine of 8-bit precisions, which depends on a network's outliers.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from extract_ways import (  # the file beside this one
    MAX_LENGTH,
    Subject,
    check,
    draw_lengths,
    draw_tokens,
    make_subject,
    operations_of,
    products,
    seconds,
    variant,
    ways_of,
)


def compare(shape: str, device: str, *, texts: int, rounds: int) -> None:
    """Print the table of one shape."""
    subject = make_subject(shape, texts, device)
    n_tokens = int(subject.tokens.lengths.sum())
    say(f"\nbart-{shape}, {device}, {subject.encoder.identity.precision}: {texts} texts, {n_tokens} tokens")
    say(f"  largest difference from Hugging Face's encoder: {check(subject):.1e}")
    ways, rates = ways_of(subject), products(subject)
    times: dict[str, list[float]] = {name: [] for name in (*ways, *rates)}
    for _ in range(rounds):
        for name, (way, _operations) in rates.items():
            times[name].append(statistics.median(seconds(way, device) for _ in range(5)))
        for name, way in ways.items():
            times[name].append(seconds(way, device))
    for name, (_way, operations) in rates.items():
        say(f"  {name + ' (torch.' + device + ')':52} {operations / statistics.median(times[name]) / 1e9:8.0f} Gflop/s")
    say(f"  {'':52} {'tokens/s':>8}  cosine  jdq in the same precision is so many times as fast")
    exact = subject.encoder.encode(subject.tokens)
    for name, way in ways.items():
        ours = times.get(f"jdq, {name.rpartition(', ')[2]}", times[next(iter(ways))])
        ratio = statistics.median(theirs / own for theirs, own in zip(times[name], ours, strict=True))
        speed = n_tokens / statistics.median(times[name])
        say(f"  {name:52} {speed:8.0f}  {worst_cosine(np.asarray(way()), exact):.4f}  {ratio:.2f}")
    peak = max(operations / statistics.median(times[name]) for name, (_way, operations) in rates.items())
    share = operations_of(subject) / statistics.median(times[next(iter(ways))]) / peak
    say(f"  jdq reaches {share:.0%} of the fastest of those products' rate, including all of its other work")
    poolings(subject, rounds)
    stored(subject, rounds)


def worst_cosine(features: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> float:
    """The lowest cosine of a text's feature to that of jdq in the device's own precision."""
    products = (features * exact).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(exact, axis=1)
    return float(products.min())


def poolings(subject: Subject, rounds: int) -> None:
    """Print what several poolings from one pass cost, against the mean only."""
    precision, device = subject.encoder.identity.precision, subject.device
    both = [variant(subject, precision, names) for names in (("mean",), ("cls", "mean"))]
    times = [[seconds(partial(each.encode, subject.tokens), device) for each in both] for _ in range(rounds)]
    ratio = statistics.median(two / one for one, two in times)
    say(f"  cls,mean from one pass takes {ratio:.3f} of the time of mean only")


def stored(subject: Subject, rounds: int) -> None:
    """Print the rate from token ids to a published shard, if the store's packages are installed."""
    try:
        from jdq.store.spaces.definition import FeatureSpace
        from jdq.store.store import open_store
    except ImportError:
        say(f"  {'jdq, tokens to stored shard':45} not measured: the store's packages are not installed")
        return
    definition = FeatureSpace(
        architecture="benchmark",
        weights="",
        tokenizer="",
        pooling="cls",
        max_length=MAX_LENGTH,
        cutting="right",
        storage_dtype="float16",
        precision=subject.encoder.identity.precision,
        dim=subject.encoder.dim,
        definition=1,
    )
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            space = open_store(folder).space(definition)
            keys = np.random.default_rng(0).integers(0, 256, (len(subject.ids), 16), dtype=np.uint8)

            def whole(space: Any = space, keys: Any = keys) -> None:
                space.put(keys, subject.encoder.encode(subject.tokens), subject.tokens.n_tokens, producer={"by": "x"})

            times.append(seconds(whole, subject.device))
    speed = int(subject.tokens.lengths.sum()) / statistics.median(times)
    say(f"  {'jdq, tokens to stored shard':45} {speed:10.0f} tokens/s")


def growth(device: str, counts: Sequence[int]) -> None:
    """Print the time per text for more and more texts: it must not grow. A tiny network, so that the rest shows."""
    say(f"\ngrowth with the number of texts, tiny network, {device}")
    for count in counts:
        subject = make_subject("tiny", 1, device)
        tokens = draw_tokens(draw_lengths(count, seed=2), 50_265)
        subject.encoder.encode(draw_tokens(draw_lengths(64, seed=3), 50_265))
        took = seconds(lambda tokens=tokens, subject=subject: subject.encoder.encode(tokens), device)  # type: ignore[misc]
        say(f"  {count:8} texts {took:8.2f} s {took / count * 1e6:8.0f} us per text")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts and one round: a look, not a measurement")
    parser.add_argument("--shape", choices=("base", "large", "tiny"), action="append", help="default: base, large")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads for every way")
    parser.add_argument("--growth", action=argparse.BooleanOptionalAction, default=True, help="up to 100,000 texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, help="texts per round (default 64, on a GPU 4,096)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    texts = options.texts or (4_096 if options.device == "cuda" else 64)
    if options.quick:
        texts //= 4
    for shape in options.shape or ("base", "large"):
        compare(shape, options.device, texts=texts, rounds=1 if options.quick else options.rounds)
    if options.growth:
        growth(options.device, (1_000, 10_000) if options.quick else (1_000, 10_000, 100_000))
    if options.device == "cpu":
        say("\non a GPU: not measured (no CUDA device was used)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
