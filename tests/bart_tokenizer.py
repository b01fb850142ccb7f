"""A byte-level BPE tokenizer of BART's form and full size, trained on the demo's texts, and BPE from its definition.

The published one cannot ship with the project. This one has the same files, the same number of entries, the special
tokens at the same ids, and fillers where it has too few words, as BART's own has.
"""

import json
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from jdq.worker.encoder.tiny import MERGES_HEADER, SPECIAL_FIRST, vocabulary_of
from tests.written_tables import MESSAGES, REVIEWS, postings

SIZE = 50_265
# GPT-2's rule, which BART took over: contractions, words, numbers, other signs, each with the space before it.
WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def write_bart_tokenizer(folder: Path) -> Path:
    """Write vocab.json of 50,265 entries and its merges.txt; returns the folder."""
    texts = [posting["text"] for posting in postings()]
    texts += [cell for row in (*REVIEWS, *MESSAGES) for cell in row]
    merges = train_merges(texts, SIZE)
    words = list(vocabulary_of(merges))[:-1]
    fillers = [f"madeupword{n:05}" for n in range(SIZE - 1 - len(words))]
    vocabulary = {token: number for number, token in enumerate([*words, *fillers, "<mask>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join([MERGES_HEADER, *merges, ""]), encoding="utf-8")
    return folder


def train_merges(lines: Iterable[str], vocabulary_size: int) -> list[str]:
    """Byte-level BPE merges learned from the lines, the most frequent first."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(SPECIAL_FIRST) - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(lines, trainer)
    return [" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]


class Reference:
    """Byte-level BPE by its definition (Sennrich et al. 2016; Radford et al. 2019), a word at a time and slow."""

    def __init__(self, folder: Path) -> None:
        self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        self._ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(lines)}

    def ids(self, text: str) -> list[int]:
        """The ids of the text between `<s>` and `</s>`."""
        pieces = [piece for word in WORDS.findall(text) for piece in self._merged(_as_characters(word))]
        return [self._ids["<s>"], *(self._ids[piece] for piece in pieces), self._ids["</s>"]]

    def _merged(self, pieces: list[str]) -> list[str]:
        """Join the pair that was learned first, wherever it is, until no neighbours are a learned pair."""
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = _joined(pieces, best)
        return pieces


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    found: list[str] = []
    rest = iter(range(len(pieces)))
    for place in rest:
        if tuple(pieces[place : place + 2]) == pair:
            found.append("".join(pair))
            next(rest)
        else:
            found.append(pieces[place])
    return found


@cache
def _alphabet() -> dict[int, str]:
    """A printable character for each byte: its own where it has one, else the next above 255."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def _as_characters(word: str) -> list[str]:
    return [_alphabet()[byte] for byte in word.encode()]
