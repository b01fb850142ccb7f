"""Token ids of texts, as features need them: special tokens' strings are plain text, and long texts are truncated."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.encoder.errors import TokenizerMismatch, UnsafeWeights
from jdq.worker.encoder.segments import FlatIds, Segments, flattened, splits_at_spaces

FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model")
NO_LIMIT = 1_000_000  # transformers writes "no limit" as 1e30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token ids of some texts, one text after another, each with its special tokens.

    `ids` is flat, int32; `lengths` (texts,) int64 counts each text's ids in it, after truncation; `n_tokens`
    (texts,) uint32 counts them before truncation; `n_unknown` (texts,) uint32 the unknown tokens among them.
    """

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    n_tokens: npt.NDArray[np.uint32]
    n_unknown: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_truncated(self) -> int:
        """How many texts were longer than the limit."""
        return int((self.n_tokens > self.lengths).sum())


class TextTokenizer:
    """A model's tokenizer with jdq's settings. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.vocabulary_size: int = len(tokenizer)
        self.highest_id: int = _highest_plain_id(tokenizer)
        limit = getattr(tokenizer, "model_max_length", None)
        self.limit: int | None = int(limit) if limit is not None and limit < NO_LIMIT else None
        self._unknown_id: int = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else -1
        self.is_fast: bool = getattr(tokenizer, "is_fast", False)
        self._encode = FastTokenizer(tokenizer.backend_tokenizer.to_str()) if self.is_fast else _Slow(tokenizer)
        self._head, self._tail = _frame(self._encode)
        self.flat_ids = with_special_tokens(self._encode)
        if len(self._head) + len(self._tail) == 0 and not any(self._encode(["a"], True)):
            raise TokenizerMismatch("the tokenizer finds no token in the text 'a'")

    @property
    def behaviour(self) -> str:
        """All steps of the tokenizer as JSON, for its fingerprint."""
        return self._encode.behaviour

    def tokenize(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Ids of the texts in order, each of at most `max_length` tokens with its special tokens."""
        ids, n_tokens = self.flat_ids(texts)
        owners = np.searchsorted(np.cumsum(n_tokens), np.flatnonzero(ids == self._unknown_id), side="right")
        return Tokens(
            ids=self._truncated(ids, n_tokens, max_length),
            lengths=np.minimum(n_tokens, max_length),
            n_tokens=n_tokens.astype(np.uint32),
            n_unknown=np.bincount(owners, minlength=len(n_tokens)).astype(np.uint32),
        )

    def _truncated(
        self, ids: npt.NDArray[np.int32], n_tokens: npt.NDArray[np.int64], max_length: int
    ) -> npt.NDArray[np.int32]:
        """Without the last tokens of the texts themselves; their special tokens stay, as with `truncation=True`."""
        if not (long := n_tokens > max_length).any():
            return ids
        positions = np.arange(len(ids)) - np.repeat(np.cumsum(n_tokens) - n_tokens, n_tokens)
        kept = ids[positions < max_length]
        ends = np.cumsum(np.minimum(n_tokens, max_length))[long]
        for back, special in enumerate(reversed(self._tail), start=1):
            kept[ends - back] = special
        return kept

    @property
    def least_length(self) -> int:
        """The smallest limit that leaves a token for the text itself."""
        return len(self._head) + len(self._tail) + 1


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a model's folder. Raises TokenizerMismatch if its files are missing or unreadable."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in FILES):
        raise TokenizerMismatch(
            f"{folder} has no tokenizer (none of {', '.join(FILES)})\n"
            "  save it beside the weights: AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise UnsafeWeights(f"the tokenizer of {folder} needs its own code, which jdq never runs") from error
        raise TokenizerMismatch(f"the tokenizer of {folder} cannot be loaded: {error}") from error
    return TextTokenizer(tokenizer)


def with_special_tokens(encode: "FastTokenizer | _Slow") -> Callable[[Sequence[str]], FlatIds]:
    """What tokenizes texts, each with its special tokens; with BART's kind of tokenizer, each distinct word once."""
    if splits_at_spaces(encode.behaviour):
        return Segments(encode, *_frame(encode)).flat_ids
    return lambda texts: flattened(encode(texts, True))


class FastTokenizer:
    """The Rust tokenizer: it uses all its threads, releases the GIL, and is never changed after this."""

    def __init__(self, definition: str) -> None:
        """`definition`: its JSON, because transformers changes the truncation and padding of its own at every call."""
        from tokenizers import Tokenizer

        self._backend = Tokenizer.from_str(definition)
        self._backend.no_truncation()
        self._backend.no_padding()
        self.behaviour: str = self._backend.to_str()
        self._backend.encode_special_tokens = True  # "</s>" in a text is five characters, not the end of it

    def __call__(self, texts: Sequence[str], special: bool) -> Iterable[list[int]]:
        return (e.ids for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=special))


class _Slow:
    """A tokenizer in Python, one call at a time, for the few models that have only this one."""

    def __init__(self, tokenizer: Any) -> None:
        import json

        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.behaviour: str = json.dumps({"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()})

    def __call__(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        with self._lock:
            encode = self._tokenizer.encode
            return [encode(text, add_special_tokens=special, split_special_tokens=True) for text in texts]


def _highest_plain_id(tokenizer: Any) -> int:
    """The largest id that a text can have: special tokens' strings are split, so their ids do not occur."""
    special = set(tokenizer.all_special_ids)
    return max((i for i in tokenizer.get_vocab().values() if i not in special), default=0)


def _frame(encode: FastTokenizer | _Slow) -> tuple[list[int], list[int]]:
    """The special tokens before and after every text, found on a sample."""
    (bare,), (framed,) = encode(["a"], False), encode(["a"], True)
    for start in range(len(framed) + 1):
        if framed[start : start + len(bare)] == bare:
            return framed[:start], framed[start + len(bare) :]
    raise TokenizerMismatch("the tokenizer changes a text's own tokens when it adds its special tokens")
