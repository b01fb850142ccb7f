"""A tiny BART with random weights and a working BART tokenizer, made offline: `python -m jdq.worker.encoder.tiny DIR`.

For trying the product and for its tests. The network has not been trained; its features are a random projection of the
words of a text, which is enough for a head to tell topics apart.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jdq.worker.encoder.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch

SPECIAL_FIRST = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3, as in every BART
MASK = "<mask>"  # the last id, as in every BART
MERGES_HEADER = "#version: 0.2"


def make_tiny_bart(
    folder: Path, *, dim: int = 128, layers: int = 2, seed: int = 0, tokenizer: Path | None = None
) -> Path:
    """Write a BART folder that `AutoModel` and `AutoTokenizer` load, and return its path.

    The same arguments give the same bytes. `dim` must be a multiple of 16. The tokenizer is the one that jdq ships
    (trained on its demo's table), or the vocab.json and merges.txt of the folder `tokenizer`.
    """
    if dim < 16 or dim % 16:
        raise ValueError(f"dim must be a multiple of 16, not {dim}")
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_size = _write_tokenizer(folder, tokenizer)
    _write_network(folder, vocabulary_size, dim, layers, seed)
    return folder


def vocabulary_of(merges: Iterable[str]) -> dict[str, int]:
    """The token -> id table of a BART tokenizer with these merges ("left right" each), in BART's order of ids."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*SPECIAL_FIRST, *sorted(ByteLevel.alphabet()), *("".join(merge.split(" ")) for merge in merges), MASK]
    return {token: position for position, token in enumerate(dict.fromkeys(tokens))}


def _write_tokenizer(folder: Path, source: Path | None) -> int:
    """Write vocab.json and merges.txt; returns the size of the vocabulary."""
    if source is not None:
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(source / name, folder / name)
        return len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    merges = (files("jdq.worker.encoder") / "tiny-merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    vocabulary = vocabulary_of(merges)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join([MERGES_HEADER, *merges, ""]), encoding="utf-8")
    return len(vocabulary)


def _write_network(folder: Path, vocabulary_size: int, dim: int, layers: int, seed: int) -> None:
    import torch
    from transformers import BartConfig, BartModel

    config = BartConfig(
        vocab_size=vocabulary_size,
        d_model=dim,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=dim // 16,
        decoder_attention_heads=dim // 16,
        encoder_ffn_dim=4 * dim,
        decoder_ffn_dim=4 * dim,
        architectures=["BartModel"],
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        model = BartModel(config).eval()
        _spread_weights(model)
        model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written as 0600, which a worker of another user could not read


def _spread_weights(model: torch.nn.Module) -> None:
    """Scale the random weights so that position 0 sees the words of its text.

    With BART's own scale (0.02) the words move the feature by about 1 %, near float16's rounding. Here attention is
    nearly flat, values pass through rotations, and positions and feed-forwards are weak: position 0 becomes a random
    projection of the mean word.
    """
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            fan_in = math.sqrt(weight.shape[-1])
            if name.endswith(("v_proj.weight", "out_proj.weight")):
                torch.nn.init.orthogonal_(weight)
            elif name.endswith("embed_positions.weight"):
                weight.normal_(std=0.02)
            elif weight.ndim == 2:
                weight.normal_(std=1.0 if name.endswith("shared.weight") else 0.3 / fan_in)


def main(arguments: Sequence[str] | None = None) -> int:
    """The options of make_tiny_bart: prints the folder to stdout, a warning about the random weights to stderr."""
    parser = argparse.ArgumentParser(prog="python -m jdq.worker.encoder.tiny", description=__doc__)
    parser.add_argument("folder", type=Path)
    for number in ("--dim", "--layers", "--seed"):
        parser.add_argument(number, type=int, default=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", type=Path)
    folder = make_tiny_bart(**vars(parser.parse_args(arguments)))
    sys.stderr.write("the weights are random: good for trying jdq, not for results\n")
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
