"""Ids of texts by byte-level BPE, where each distinct word is computed once.

GPT-2's pre-tokenizer, which is BART's, splits a text by a regular expression before BPE. It has no look-behind, each
of its matches has at most one kind of character after an optional space, and it looks ahead for white space only. So
no match crosses a border of SEGMENT's, and the ids of a text are those of its segments, one after another.
`benchmarks/token_ids.py` compares the speed with that of the Rust tokenizer on whole texts.
"""

import json
import re
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

FlatIds = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]  # ids of all texts, and how many each has
Encode = Callable[[Sequence[str], bool], Iterable[list[int]]]  # ids of each text; with its special tokens or without

# Unicode's White_Space, which the Rust tokenizer goes by; Python's own \s also has U+001C to U+001F.
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
SEGMENT = re.compile(rf" ?[^{SPACE}]+|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+")
MOST_IDS = 1 << 20  # then all are forgotten: about 100 MB

HEAD, TAIL = 0, 1  # the special tokens before and after a text, as segments


def flattened(ids: Iterable[list[int]]) -> FlatIds:
    """The ids of several texts, one after another."""
    flat, counts = array("i"), array("q")
    for text_ids in ids:
        flat.fromlist(text_ids)
        counts.append(len(text_ids))
    return np.array(flat, dtype=np.int32), np.array(counts, dtype=np.int64)


def splits_at_spaces(behaviour: str) -> bool:
    """Whether a tokenizer, given as its JSON, is one whose texts can be tokenized by segments."""
    steps = json.loads(behaviour)
    splits = {**(steps.get("pre_tokenizer") or {}), "trim_offsets": True}  # which the ids do not depend on
    return (
        splits == {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True, "trim_offsets": True}
        and steps["normalizer"] is None
        and not steps["model"].get("dropout")
        and all(token["special"] for token in steps["added_tokens"])  # others may hold spaces
    )


class Segments(dict[str, int]):
    """The number of each segment that occurred, and the ids of each number. `flat_ids` is thread-safe."""

    _new: list[str]  # numbered, but without ids yet
    _ids: npt.NDArray[np.int32]  # of all numbers, one after another
    _starts: npt.NDArray[np.int64]  # (numbers + 1,): where the ids of each begin

    def __init__(self, encode: Encode, head: list[int], tail: list[int]) -> None:
        self._encode, self._frame = encode, [head, tail]
        self._lock = threading.Lock()
        self._forget()

    def flat_ids(self, texts: Sequence[str]) -> FlatIds:
        """The ids of the texts, each between its special tokens."""
        with self._lock:
            if self._new or len(self._ids) > MOST_IDS:  # only an error leaves new ones
                self._forget()
            numbers, bounds = self._numbers(texts)
            self._compute_new()
            starts, ids = self._starts, self._ids
        lengths = (starts[1:] - starts[:-1])[numbers]
        ends = np.concatenate(([0], np.cumsum(lengths)))
        places = np.repeat(starts[numbers] - ends[:-1], lengths) + np.arange(ends[-1])
        of_texts = ends[bounds]
        return ids[places], of_texts[1:] - of_texts[:-1]

    def _numbers(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The numbers of all segments, and (texts + 1,) where those of each text begin."""
        numbers, bounds = array("i"), array("q", [0])
        for text in texts:
            numbers.append(HEAD)
            numbers.extend(map(self.__getitem__, SEGMENT.findall(text)))
            numbers.append(TAIL)
            bounds.append(len(numbers))
        return np.array(numbers, dtype=np.int32), np.array(bounds, dtype=np.int64)

    def __missing__(self, segment: str) -> int:
        self._new.append(segment)
        number = self[segment] = len(self) + 2  # after HEAD and TAIL
        return number

    def _compute_new(self) -> None:
        if self._new:
            ids, lengths = flattened(self._encode(self._new, False))
            self._ids = np.concatenate((self._ids, ids))
            self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum(lengths)))
            self._new = []

    def _forget(self) -> None:
        self.clear()
        self._new = []
        self._ids, lengths = flattened(self._frame)
        self._starts = np.concatenate(([0], np.cumsum(lengths)))
