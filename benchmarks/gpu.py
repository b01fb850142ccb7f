"""One look at a GPU in ten minutes: what jdq's encoder does there, most important first.

    python benchmarks/gpu.py [--out FOLDER] [--seconds 540] [--device cuda|cpu] [--tiny]

Needs only torch, transformers and numpy, no network and nothing of jdq installed. Every figure is printed and written
to FOLDER/gpu.json when it is known, so that a run that is ended early keeps what it has; a step that fails is recorded,
and the next one runs. --tiny with --device cpu only shows that the program works.

Caveats: random weights, texts as token ids, one card, medians of a few rounds; `kernels` are single calls.
"""

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import numpy as np
import torch
import torch.nn.functional as F
from extract_ways import (  # the file beside this one
    SHAPES,
    Subject,
    draw_lengths,
    draw_tokens,
    hugging_face,
    in_batches,
    make_subject,
    one_at_a_time,
    seconds,
    sentence_transformer,
    variant,
)
from gpu_kernels import kernels_of
from torch.nn.attention import current_flash_attention_impl

from jdq.worker.encoder.attention import varlen_kernel
from jdq.worker.encoder.batch import Batch, count_within, longest_first, pack
from jdq.worker.encoder.forward_pool import Network
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.shape import BartShape

PASS_TOKENS = (8_192, 16_384, 32_768, 65_536, 131_072, 262_144)
MOST_FLOAT32_TOKENS = 65_536  # a pass of more takes seconds
BATCHES = (32, 64, 128, 256)
OTHERS_TEXTS = 1_024


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of this program: its sizes, and the figures so far."""

    device: str
    out: Path
    tiny: bool
    began: float = field(default_factory=time.perf_counter)
    figures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    subjects: dict[str, Subject] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """Whether this measures a GPU."""
        return self.device.startswith("cuda")

    @property
    def shapes(self) -> tuple[str, ...]:
        """Names of the networks."""
        return ("tiny",) if self.tiny else ("large", "base")

    @property
    def precisions(self) -> tuple[str, ...]:
        """What this device computes in, the most important first."""
        return ("bfloat16", "float8", "float32") if self.cuda else ("float32",)

    def say(self, step: str, **figure: object) -> None:
        """Print a figure, and save all so far."""
        self.figures.setdefault(step, []).append(figure)
        sys.stdout.write(f"[{time.perf_counter() - self.began:4.0f} s] {step} {json.dumps(figure)}\n")
        sys.stdout.flush()
        (self.out / "gpu.json").write_text(json.dumps(self.figures, indent=1))

    def subject(self, shape: str) -> Subject:
        """The network and its texts, made once."""
        if shape not in self.subjects:
            self.subjects[shape] = make_subject(shape, 16 if self.tiny else 4_096, self.device.split(":")[0])
        return self.subjects[shape]

    def network(self, shape: str, precision: str) -> Network:
        """The packed network in a precision."""
        return variant(self.subject(shape), precision).network

    def batch(self, shape: str, tokens: int) -> Batch:
        """Texts of mixed lengths for one pass of about so many tokens."""
        drawn = self.subject(shape).tokens
        order = np.random.default_rng(0).permutation(len(drawn))
        chosen = order[: count_within(drawn.lengths[order], tokens, padded=False)]
        return pack(drawn, chosen[np.argsort(-drawn.lengths[chosen], kind="stable")])

    def ms(self, call: Callable[[], object], rounds: int = 5) -> float:
        """Median milliseconds of a call on the device."""
        for _ in range(2):
            call()
        return 1e3 * statistics.median(seconds(call, self.device.split(":")[0]) for _ in range(rounds))


def machine(run: Run) -> None:
    """Which card, and which of jdq's kernels it takes."""
    card: dict[str, object] = {}
    if run.cuda:
        properties = torch.cuda.get_device_properties(run.device)
        card = {
            "card": properties.name,
            "bytes": properties.total_memory,
            "processors": properties.multi_processor_count,
        }
    kernel = varlen_kernel(run.device, torch.bfloat16, 64)
    attention = None if kernel is None else current_flash_attention_impl() or kernel.__name__
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "date": time.strftime("%Y-%m-%d")}
    run.say("machine", **card, **versions, cpus=os.cpu_count(), attention=attention)


def correctness(run: Run) -> None:
    """Features of each precision against Hugging Face's encoder in float32, one text at a time."""
    from transformers import BartConfig, BartModel

    torch.manual_seed(0)
    network = BartModel(BartConfig(**SHAPES["tiny" if run.tiny else "base"])).eval().to(run.device).get_encoder()
    tokens = draw_tokens(np.array([1024, 777, 300, 129, 65, 64, 7, 7, 4, 3]), 50_265)
    texts = np.split(tokens.ids.astype(np.int64), np.cumsum(tokens.lengths)[:-1])
    with torch.no_grad():
        states = [network(input_ids=torch.from_numpy(ids)[None].to(run.device)).last_hidden_state[0] for ids in texts]
    expected = torch.stack([torch.cat([state[0], state.mean(0)]) for state in states]).float()
    state, shape = network.state_dict(), BartShape.of(network.config.to_dict())
    assert shape is not None
    for name in (*run.precisions, *(["float8, fc2 in bfloat16"] if run.cuda else [])):
        both = PackedBart(
            shape,
            state.__getitem__,
            precision=name.split(",")[0],
            device=run.device,
            rows=1_024,
            poolings=("cls", "mean"),
            all_in_float8="," not in name,
        )
        found = both.pooled(pack(tokens, np.arange(len(texts)))).float()
        for pooling, a, b in zip(("cls", "mean"), found.chunk(2, 1), expected.chunk(2, 1), strict=True):
            cosine, largest = float(F.cosine_similarity(a, b).min()), float((a - b).abs().max())
            run.say("correctness", precision=name, pooling=pooling, worst_cosine=cosine, largest_difference=largest)


def passes(run: Run) -> None:
    """Tokens per second of the device only, by tokens per pass, with peak memory: finds CUDA_MOST_TOKENS."""
    for shape in run.shapes:
        for precision in run.precisions:
            network = run.network(shape, precision)
            for tokens in (512,) if run.tiny else PASS_TOKENS:
                if precision == "float32" and tokens > MOST_FLOAT32_TOKENS:
                    continue
                batch = run.batch(shape, tokens)
                if run.cuda:
                    torch.cuda.reset_peak_memory_stats()
                ms = run.ms(lambda network=network, batch=batch: network.pooled(batch))  # type: ignore[misc]
                peak = torch.cuda.max_memory_allocated() if run.cuda else None
                n_tokens = len(batch.ids)
                rate = {"ms": round(ms, 3), "tokens_per_s": round(n_tokens / ms * 1e3)}
                run.say("passes", shape=shape, precision=precision, tokens=n_tokens, **rate, peak_bytes=peak)


def end_to_end(run: Run) -> None:
    """`encode` by the wall clock, and the share of it that the device's own work on the same passes does not fill."""
    for shape in run.shapes:
        subject = run.subject(shape)
        n_tokens = int(subject.tokens.lengths.sum())
        wall_ms = run.ms(lambda subject=subject: subject.encoder.encode(subject.tokens), 3)  # type: ignore[misc]
        order, device_ms = longest_first(subject.tokens), 0.0
        while len(order):
            count = count_within(subject.tokens.lengths[order], subject.encoder.budget.tokens, padded=False)
            batch, order = pack(subject.tokens, order[:count]), order[count:]
            device_ms += run.ms(lambda batch=batch, subject=subject: subject.encoder.network.pooled(batch), 3)  # type: ignore[misc]
        idle = round(1 - device_ms / wall_ms, 3)
        run.say("end_to_end", shape=shape, tokens_per_s=round(n_tokens / wall_ms * 1e3), host_idle_share=idle)


def kernels(run: Run) -> None:
    """Each call of a layer at the size of a full pass, as written and as it could be."""
    for shape in run.shapes:
        for name, call in kernels_of(
            run.subject(shape), run.batch(shape, 512 if run.tiny else 131_072), run.device
        ).items():
            try:
                run.say("kernels", shape=shape, kernel=name, us=round(1e3 * run.ms(call), 1))
            except RuntimeError as error:
                run.say("kernels", shape=shape, kernel=name, failed=str(error)[:200])


def memory(run: Run) -> None:
    """Runs out of memory on purpose: the features must come, and nothing of the failed passes stay."""
    if not run.cuda:
        return
    subject = run.subject(run.shapes[-1])
    expected = subject.encoder.encode(subject.tokens)
    torch.cuda.empty_cache()
    held, total = torch.cuda.memory_allocated(), torch.cuda.get_device_properties(run.device).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 1e9) / total)
    try:
        found = subject.encoder.encode(subject.tokens)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    left = torch.cuda.memory_allocated() - held
    difference = float(np.abs(found - expected).max())
    run.say("memory", budget=subject.encoder.budget.tokens, bytes_left=left, largest_difference=difference)


def others(run: Run) -> None:
    """What people use today, on a part of the texts, each at every batch size; and jdq on the same part."""
    for shape in run.shapes:
        part = _part(run.subject(shape), 8 if run.tiny else OTHERS_TEXTS)
        n_tokens = sum(map(len, part.ids))

        def rate(way: Callable[[], object], n_tokens: int = n_tokens) -> int:
            return round(n_tokens / run.ms(way, 3) * 1e3)

        run.say("others", shape=shape, way="jdq", tokens_per_s=rate(lambda part=part: part.encoder.encode(part.tokens)))  # type: ignore[misc]
        wrapped = sentence_transformer(part)
        for size in (8,) if run.tiny else BATCHES:
            padded = rate(lambda part=part, size=size: in_batches(part, size, hugging_face(part)))  # type: ignore[misc]
            run.say("others", shape=shape, way="encoder, padded, sorted", batch=size, tokens_per_s=padded)
            if wrapped is not None:
                theirs = rate(lambda size=size, wrapped=wrapped: wrapped(size))  # type: ignore[misc]
                run.say("others", shape=shape, way="sentence-transformers", batch=size, tokens_per_s=theirs)
        few = _part(part, 4 if run.tiny else 64)
        alone = run.ms(lambda few=few: one_at_a_time(few, few.network), 1)  # type: ignore[misc]
        run.say(
            "others",
            shape=shape,
            way="complete network, one text at a time",
            tokens_per_s=round(sum(map(len, few.ids)) / alone * 1e3),
        )


def _part(subject: Subject, texts: int) -> Subject:
    ids = subject.ids[:texts]
    tokens = draw_tokens(draw_lengths(len(subject.ids), seed=1)[:texts], 50_265)
    return Subject(network=subject.network, encoder=subject.encoder, tokens=tokens, ids=ids, device=subject.device)


STEPS = (machine, correctness, passes, end_to_end, memory, kernels, others)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="folder for gpu.json")
    parser.add_argument("--seconds", type=float, default=540, help="start no step after this time (default 540)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny network: shows that the program works")
    options = parser.parse_args()
    run = Run(device=options.device, out=options.out, tiny=options.tiny)
    for step in STEPS:
        if time.perf_counter() - run.began > options.seconds:
            run.say(step.__name__, skipped="out of time")
            continue
        try:
            step(run)
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, ImportError):
            run.say(step.__name__, failed=traceback.format_exc()[-1_500:])
        if run.cuda:
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
