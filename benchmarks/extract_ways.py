"""Every way to make features that `extract.py` compares: jdq's, and those that people use today."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from extract_engines import engines  # the file beside this one
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "worker"), str(ROOT / "store")]

from jdq.worker.encoder.budget import CPU_TOKENS, TokenBudget  # noqa: E402
from jdq.worker.encoder.encoder import Encoder  # noqa: E402
from jdq.worker.encoder.identity import Identity  # noqa: E402
from jdq.worker.encoder.linear import OneDnnLinear, has_int8, has_onednn  # noqa: E402
from jdq.worker.encoder.options import automatic_precision  # noqa: E402
from jdq.worker.encoder.packed import PackedBart  # noqa: E402
from jdq.worker.encoder.shape import BartShape  # noqa: E402
from jdq.worker.encoder.tokens import Tokens  # noqa: E402

BATCH_SIZES = (8, 16, 32, 64)
MAX_LENGTH = 1_024
# Quantiles of the real lengths in steps of 1/40, for where the data is absent.
QUANTILES = (
    *(4, 31, 47, 62, 74, 85, 95, 105, 112, 120, 123, 133, 139, 147, 155, 164, 169, 179, 190, 202, 211),
    *(218, 226, 237, 246, 258, 272, 283, 298, 316, 334, 355, 380, 399, 421, 454, 485, 555, 639, 759, 1_024),
)
SHAPES: dict[str, dict[str, Any]] = {
    "base": {
        "d_model": 768,
        **{f"{half}_layers": 6 for half in ("encoder", "decoder")},
        **{f"{half}_attention_heads": 12 for half in ("encoder", "decoder")},
        **{f"{half}_ffn_dim": 3_072 for half in ("encoder", "decoder")},
    },
    "large": {},  # BartConfig's own defaults
    "tiny": {
        "d_model": 64,
        **{f"{half}_layers": 2 for half in ("encoder", "decoder")},
        **{f"{half}_attention_heads": 4 for half in ("encoder", "decoder")},
        **{f"{half}_ffn_dim": 256 for half in ("encoder", "decoder")},
    },
}
Way = Callable[[], Any]
Run = Callable[[dict[str, Tensor]], npt.NDArray[np.float32]]  # ids and mask of a padded batch -> (texts, dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One network in every form that is measured, and the texts that all of them process."""

    network: Any
    encoder: Encoder
    tokens: Tokens
    ids: list[npt.NDArray[np.int64]]
    device: str


def draw_lengths(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Lengths of real job descriptions, truncated at the limit, drawn at random."""
    folder = Path(os.environ.get("JDQ_TEST_DATA", ROOT.parent / "shared" / "data"))
    file = folder / "emscad_token_lengths.txt"
    lengths = np.loadtxt(file, dtype=np.int64) if file.is_file() else np.array(QUANTILES)
    return np.random.default_rng(seed).choice(lengths, count).clip(3, MAX_LENGTH)


def draw_tokens(lengths: npt.NDArray[np.int64], vocabulary: int) -> Tokens:
    """Random words between <s> and </s>."""
    ids = np.random.default_rng(0).integers(4, vocabulary - 1, int(lengths.sum()), dtype=np.int32)
    ends = np.cumsum(lengths)
    ids[ends - lengths], ids[ends - 1] = 0, 2
    return Tokens(
        ids=ids, lengths=lengths, n_tokens=lengths.astype(np.uint32), n_unknown=np.zeros(len(lengths), dtype=np.uint32)
    )


def make_subject(shape_name: str, texts: int, device: str) -> Subject:
    """A random BART and its texts, on the device: float32 on a CPU, bfloat16 on a GPU."""
    from transformers import BartConfig, BartModel

    torch.manual_seed(0)
    network = BartModel(BartConfig(**SHAPES[shape_name])).eval()
    shape = BartShape.of(network.config.to_dict())
    assert shape is not None
    precision = automatic_precision(device)
    state = network.get_encoder().state_dict()
    packed = PackedBart(shape, state.__getitem__, precision=precision, device=device, rows=CPU_TOKENS)
    identity = Identity(
        architecture="bart",
        weights="",
        tokenizer="",
        max_length=MAX_LENGTH,
        precision=precision,
        dim=shape.dim,
        poolings=("cls",),
    )
    encoder = Encoder(
        identity=identity,
        path="packed",
        network=packed,
        tokenizer=cast(Any, None),  # the texts are token ids already
        budget=TokenBudget.for_device(device, dim=shape.dim, precision=precision),
    )
    tokens = draw_tokens(draw_lengths(texts, seed=1), shape.vocab_size)
    ids = [part.astype(np.int64) for part in np.split(tokens.ids, np.cumsum(tokens.lengths)[:-1])]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return Subject(
        network=network.to(device=device, dtype=dtype), encoder=encoder, tokens=tokens, ids=ids, device=device
    )


def variant(subject: Subject, precision: str, poolings: tuple[str, ...] = ("cls",)) -> Encoder:
    """The same network in this precision, with these poolings."""
    state, shape = subject.network.get_encoder().state_dict(), cast(PackedBart, subject.encoder.network).shape
    budget = TokenBudget.for_device(subject.device, dim=shape.dim, precision=precision)
    network = PackedBart(
        shape,
        lambda name: state[name].float(),
        precision=precision,
        device=subject.device,
        rows=budget.tokens,
        poolings=poolings,
    )
    identity = replace(subject.encoder.identity, precision=precision, poolings=poolings)
    return replace(subject.encoder, identity=identity, network=network, budget=budget)


def padded(rows: Sequence[npt.NDArray[np.int64]], device: str) -> dict[str, Tensor]:
    """Ids and mask of one batch, padded on the right with BART's padding id."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), 1, dtype=np.int64)
    for row, text in zip(ids, rows, strict=True):
        row[: len(text)] = text
    found = torch.from_numpy(ids).to(device)
    return {"input_ids": found, "attention_mask": (found != 1).long()}


def one_at_a_time(subject: Subject, network: Any) -> list[npt.NDArray[np.float32]]:
    """Each text by itself through `network`, and back to numpy, as in many a tutorial."""
    with torch.no_grad():
        return [
            network(**padded([text], subject.device)).last_hidden_state[0, 0].float().cpu().numpy()
            for text in subject.ids
        ]


def in_batches(subject: Subject, size: int, run: Run) -> npt.NDArray[np.float32]:
    """Features by `run` on padded batches, longest texts first."""
    order = np.argsort([-len(text) for text in subject.ids], kind="stable")
    features = np.empty((len(order), subject.encoder.dim), dtype=np.float32)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        features[rows] = run(padded([subject.ids[row] for row in rows], subject.device))
    return features


def hugging_face(subject: Subject) -> Run:
    """Hugging Face's encoder on a padded batch."""
    encoder = subject.network.get_encoder()

    def run(batch: dict[str, Tensor]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            first: npt.NDArray[np.float32] = encoder(**batch).last_hidden_state[:, 0].float().cpu().numpy()
        return first

    return run


def sentence_transformer(subject: Subject) -> Callable[[int], Any] | None:
    """sentence-transformers around the same encoder, by batch size; None where it cannot be imported."""
    try:
        from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None

    class First(nn.Module):
        """Its own module: strings of ids in, the state at position 0 out."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = subject.network.get_encoder()

        def tokenize(self, texts: list[str]) -> dict[str, Tensor]:
            return padded([np.array(text.split(), dtype=np.int64) for text in texts], "cpu")

        def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
            kept = {name: features[name] for name in ("input_ids", "attention_mask")}
            return features | {"sentence_embedding": self.encoder(**kept).last_hidden_state[:, 0].float()}

    model = SentenceTransformer(modules=[First()], device=subject.device)
    texts = [" ".join(map(str, text)) for text in subject.ids]
    return lambda size: model.encode(texts, batch_size=size, show_progress_bar=False)


def products(subject: Subject) -> dict[str, tuple[Way, float]]:
    """Matrix products in the feed-forward's shape: the call, and its number of operations."""
    dim = subject.encoder.dim
    dtype = torch.bfloat16 if subject.device == "cuda" else torch.float32
    rows = 65_536 if subject.device == "cuda" else 2_048
    x = torch.randn(rows, dim, device=subject.device, dtype=dtype)
    weight = torch.randn(4 * dim, dim, device=subject.device, dtype=dtype)
    bias = torch.zeros(4 * dim, device=subject.device, dtype=dtype)
    operations = 2.0 * rows * dim * 4 * dim
    found: dict[str, tuple[Way, float]] = {"torch linear": (lambda: nn.functional.linear(x, weight, bias), operations)}
    if subject.device == "cpu" and has_onednn("float32"):
        layer = OneDnnLinear(weight, bias, "gelu", rows=rows)
        found["oneDNN linear"] = (lambda: layer(x), operations)
    return found


def operations_of(subject: Subject) -> float:
    """Floating-point operations that the packed encoder does for the texts: linear layers and attention."""
    shape = cast(PackedBart, subject.encoder.network).shape
    lengths = subject.tokens.lengths.astype(np.float64)
    d, f = shape.dim, shape.ffn_dim
    linear = lengths.sum() * (2 * (4 * d * d + 2 * d * f) * (shape.layers - 1) + 2 * 2 * d * d)
    attention = 4 * d * (lengths**2).sum() * (shape.layers - 1)
    return float(linear + attention)


def seconds(way: Way, device: str) -> float:
    """Wall time of one call, until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ways_of(subject: Subject) -> dict[str, Way]:
    """Every way to make the features, at its fastest batch size on this machine; a name ends in the precision."""
    own = subject.encoder.identity.precision
    batched: dict[str, Callable[[int], Any]] = {
        f"encoder, padded, sorted, {own}": partial(in_batches, subject, run=hugging_face(subject))
    }
    wrapped = sentence_transformer(subject)
    if wrapped is not None:
        batched[f"sentence-transformers, {own}"] = wrapped
    if subject.device == "cpu":
        runs = engines(subject.network.get_encoder(), torch.get_num_threads())
        batched |= {name: partial(in_batches, subject, run=run) for name, run in runs.items()}
    ways: dict[str, Way] = {f"jdq, {own}": lambda: subject.encoder.encode(subject.tokens)}
    for precision, fast in (("bfloat16", has_onednn("bfloat16")), ("int8", has_int8())):
        if subject.device == "cpu" and fast:
            ways[f"jdq, {precision}"] = partial(variant(subject, precision).encode, subject.tokens)
    ways[f"complete network, one text at a time, {own}"] = partial(one_at_a_time, subject, subject.network)
    ways[f"encoder, one text at a time, {own}"] = partial(one_at_a_time, subject, subject.network.get_encoder())
    return ways | {name: _best(make, subject.device) for name, make in batched.items()}


def _best(make: Callable[[int], Any], device: str) -> Way:
    """With the fastest of the batch sizes."""
    return partial(make, min(BATCH_SIZES, key=lambda size: seconds(partial(make, size), device)))


def check(subject: Subject) -> float:
    """Largest difference from Hugging Face's encoder, one text at a time, over a few texts."""
    few = np.argsort(subject.tokens.lengths)[:: max(1, len(subject.ids) // 8)]
    alone = one_at_a_time(subject, subject.network.get_encoder())
    features = subject.encoder.encode(subject.tokens)
    return max(float(np.abs(features[i] - alone[i]).max()) for i in few)
