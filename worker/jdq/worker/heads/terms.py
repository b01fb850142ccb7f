"""The terms of texts: words, pairs of words, and runs of 2 to 5 characters inside words, weighted by TF-IDF.

A row has words and pairs beside characters, each part of length 1; characters make up for inflection and misspelt
words. Terms are learnt from a sample of the texts, so that memory does not grow with their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack, vstack
from sklearn.feature_extraction.text import CountVectorizer

Float32 = npt.NDArray[np.float32]

ANALYZERS: dict[str, dict[str, Any]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}
SAMPLE_TEXTS, SAMPLE_CHARACTERS = 20_000, 20_000_000
LEAST_TEXTS = 2  # terms of a single text are most of the vocabulary, and say nothing about other texts
BLOCK_TEXTS = 2048


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """The terms of one analyzer, sorted, with their inverse document frequencies: (terms,)."""

    analyzer: str
    terms: tuple[str, ...]
    idf: Float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """Texts as rows of weighted terms, those of each vocabulary after one another."""

    vocabularies: tuple[Vocabulary, ...]  # none of them empty

    @property
    def columns(self) -> int:
        return sum(len(each.terms) for each in self.vocabularies)

    @cached_property
    def _counters(self) -> list[CountVectorizer]:
        return [
            CountVectorizer(**ANALYZERS[each.analyzer], vocabulary={term: i for i, term in enumerate(each.terms)})
            for each in self.vocabularies
        ]

    def rows(self, texts: Sequence[str]) -> csr_array:
        """(texts, columns) float32; the rows of texts with a"""
        blocks = [self._block(texts[start : start + BLOCK_TEXTS]) for start in range(0, len(texts), BLOCK_TEXTS)]
        return csr_array(vstack(blocks or [csr_array((0, self.columns), dtype=np.float32)], format="csr"))

    def _block(self, texts: Sequence[str]) -> csr_array:
        pairs = zip(self._counters, self.vocabularies, strict=True)
        kinds = [weighted(csr_array(counter.transform(texts)), each.idf) for counter, each in pairs]
        return csr_array(hstack(kinds, format="csr")) if kinds else csr_array((len(texts), 0), dtype=np.float32)


def weighted(counts: csr_array, idf: Float32) -> csr_array:
    """(1 + log(count)) x IDF, each row then of length 1."""
    values = (1 + np.log(counts.data)).astype(np.float32) * idf[counts.indices]
    row_of = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(row_of, weights=np.square(values), minlength=counts.shape[0]))
    values /= lengths[row_of].astype(np.float32)
    return csr_array((values, counts.indices, counts.indptr), shape=counts.shape)


def learn_terms(texts: Sequence[str], *, most: int, kinds: Sequence[str] = tuple(ANALYZERS)) -> tuple[Terms, float]:
    """The terms of a sample of texts that are in at least two of them; at most `most`, the most frequent ones, of all
    kinds together. Also how many a text has in the mean.
    """
    learnt = [_vocabulary(kind, texts, most // len(kinds)) for kind in kinds]
    terms = Terms(vocabularies=tuple(vocabulary for vocabulary, _ in learnt if vocabulary.terms))
    return terms, sum(n for _, n in learnt) / len(texts)


def _vocabulary(analyzer: str, texts: Sequence[str], most: int) -> tuple[Vocabulary, int]:
    """The vocabulary, and in how many texts its terms are, added up."""
    counter = CountVectorizer(**ANALYZERS[analyzer], binary=True)
    try:
        documents = np.asarray(counter.fit_transform(texts).sum(axis=0)).ravel()
    except ValueError:  # no text has a word
        return Vocabulary(analyzer=analyzer, terms=(), idf=np.zeros(0, dtype=np.float32)), 0
    names = counter.get_feature_names_out()
    kept = np.flatnonzero(documents >= LEAST_TEXTS)
    kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")][:most])
    idf = np.log((1 + len(texts)) / (1 + documents[kept])) + 1
    vocabulary = Vocabulary(analyzer=analyzer, terms=tuple(names[kept].tolist()), idf=idf.astype(np.float32))
    return vocabulary, int(documents[kept].sum())


def sampled(texts: Sequence[str]) -> Sequence[str]:
    """The first of the texts, as many as a vocabulary is learnt from."""
    ends = np.cumsum([len(text) for text in texts[:SAMPLE_TEXTS]])
    return texts[: max(1, int(np.searchsorted(ends, SAMPLE_CHARACTERS, side="right")))]
