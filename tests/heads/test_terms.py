"""Terms against scikit-learn's TfidfVectorizer."""

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from jdq.worker.heads import terms as module
from jdq.worker.heads.terms import ANALYZERS, learn_terms, sampled

TEXTS = ["A chef cooks, a chef bakes", "the chef cooks", "Nurses nurse", "nurse the chef", "안녕 세상 안녕", "안녕 the"]


@pytest.mark.parametrize("kinds", [("words",), ("characters",), ("words", "characters")])
def test_rows_are_those_of_scikit_learns_tfidf_each_kind_of_terms_of_length_one(kinds: tuple[str, ...]) -> None:
    terms, per_text = learn_terms(TEXTS, most=10_000, kinds=kinds)
    parts: list[Any] = []
    for kind in kinds:
        vectorizer = TfidfVectorizer(**ANALYZERS[kind], min_df=2, sublinear_tf=True)
        parts.append(vectorizer.fit_transform(TEXTS).toarray())
        names = dict(zip(kinds, terms.vocabularies, strict=True))[kind].terms
        assert list(names) == vectorizer.get_feature_names_out().tolist()
    expected = np.hstack(parts)
    found = terms.rows(TEXTS)
    assert found.dtype == np.float32 and np.allclose(found.toarray(), expected, atol=1e-6)
    assert per_text == pytest.approx(found.nnz / len(TEXTS)) and terms.columns == expected.shape[1]


def test_blocks_of_texts_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    terms, _ = learn_terms(TEXTS, most=10_000)
    whole = terms.rows(TEXTS).toarray()
    monkeypatch.setattr(module, "BLOCK_TEXTS", 2)
    assert (terms.rows(TEXTS).toarray() == whole).all()
    assert terms.rows([]).shape == (0, terms.columns)


def test_new_texts_have_their_known_terms_only() -> None:
    terms, _ = learn_terms(TEXTS, most=10_000, kinds=("words",))
    row, nothing = terms.rows(["chef zebra", "zebra"]).toarray()
    (column,) = np.flatnonzero(row)
    assert terms.vocabularies[0].terms[column] == "chef" and row[column] == pytest.approx(1)
    assert not nothing.any()


def test_the_most_frequent_terms_are_kept() -> None:
    terms, _ = learn_terms(TEXTS, most=4)
    words, characters = terms.vocabularies
    assert words.terms == ("chef", "the") and len(characters.terms) == 2


def test_texts_without_a_repeated_term_have_no_columns() -> None:
    terms, per_text = learn_terms(["!", "?", "one", "two"], most=100)
    assert (terms.vocabularies, terms.columns, per_text) == ((), 0, 0)
    assert terms.rows(["one", "!"]).shape == (2, 0)
    assert learn_terms(["!", "?"], most=100)[0].columns == 0


def test_a_vocabulary_is_learnt_from_texts_of_a_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_CHARACTERS", 10)
    assert sampled(["four", "four", "four"]) == ["four", "four"]
    assert sampled(["more than ten characters", "four"]) == ["more than ten characters"]
