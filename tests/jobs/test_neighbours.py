"""The most similar rows, compared with all cosines at once."""

import tracemalloc

import numpy as np
import pytest

from jdq.worker.jobs import neighbours
from jdq.worker.jobs.neighbours import most_similar, nearest, typical_similarity, unit_rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "QUERY_ROWS", 7)
    monkeypatch.setattr(neighbours, "OTHER_ROWS", 5)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float16)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (each.astype(np.float64) for each in (first, second))
    lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    found: np.ndarray = first @ second.T / lengths
    return found


@pytest.mark.parametrize("n", [1, 5, 16, 35])
def test_the_most_similar_of_others_is_that_of_all_cosines(n: int) -> None:
    places, similarity = most_similar(rows(n), rows(23, seed=1))
    expected = cosines(rows(n), rows(23, seed=1))
    assert places.tolist() == expected.argmax(axis=1).tolist()
    assert similarity == pytest.approx(expected.max(axis=1), abs=1e-6)


@pytest.mark.parametrize("n", [2, 5, 16, 35])
def test_only_earlier_rows_count_within_a_dataset(n: int) -> None:
    places, similarity = most_similar(rows(n), rows(n), earlier=True)
    expected = np.where(np.tri(n, k=-1) > 0, cosines(rows(n), rows(n)), -2)
    assert places[0] == -1
    assert similarity[0] == -2
    assert places[1:].tolist() == expected[1:].argmax(axis=1).tolist()
    assert similarity[1:] == pytest.approx(expected[1:].max(axis=1), abs=1e-6)


def test_equal_rows_are_similar_by_1_and_of_several_the_first_counts() -> None:
    some = rows(20)
    some[[9, 14]] = some[3]
    places, similarity = most_similar(some, some, earlier=True)
    assert places[[9, 14]].tolist() == [3, 3]
    assert similarity.max() <= 1
    assert similarity[[9, 14]] == pytest.approx(1, abs=1e-6)


def test_a_row_of_zeros_is_similar_to_none() -> None:
    assert (unit_rows(np.zeros((2, 3))) == 0).all()
    _, similarity = most_similar(np.zeros((1, 6)), rows(4))
    assert similarity[0] == 0


def test_memory_is_bounded_by_a_block_and_grows_with_the_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "QUERY_ROWS", 256)
    monkeypatch.setattr(neighbours, "OTHER_ROWS", 1024)
    many = rows(6_000)
    many[5_000:5_010] = many[:10]
    tracemalloc.start()
    places, similarity = most_similar(many, many, earlier=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert places[5_000:5_010].tolist() == list(range(10)) and (similarity[5_000:5_010] == 1).all()
    assert peak < 5 * 2**20 < 4 * len(many) ** 2 / 20


def test_progress_is_reported_after_each_block() -> None:
    seen: list[tuple[int, int]] = []
    most_similar(rows(16), rows(4), check=lambda done, total: seen.append((done, total)))
    assert seen == [(7, 16), (14, 16), (16, 16)]


def test_the_nearest_come_most_similar_first() -> None:
    query = rows(1, seed=2)[0]
    places, similarity = nearest(query, rows(23), 4)
    expected = cosines(query[None], rows(23))[0]
    assert places.tolist() == np.argsort(-expected)[:4].tolist()
    assert similarity == pytest.approx(np.sort(expected)[::-1][:4], abs=1e-6)
    assert len(nearest(query, rows(3), 10)[0]) == 3
    equal, similarity = nearest(query, np.tile(query, (60, 1)), 60)
    assert equal.dtype == np.int64 and equal.tolist() == [*range(60)]
    assert (similarity == 1).all()


def test_how_similar_any_two_rows_are() -> None:
    assert typical_similarity(rows(400)) == pytest.approx(0, abs=0.1)
    assert typical_similarity(rows(400) + np.float16(20)) > 0.95
    assert typical_similarity(rows(1)) == 0.0
