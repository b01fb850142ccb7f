"""A short run of the chaos that `make chaos` does for longer."""

from tests.chaos.chaos import make_chaos


def test_random_faults_lose_nothing_and_end_nothing_twice() -> None:
    found = make_chaos(faults=8, seed=11)
    assert found.sound, found
    assert found.rows > 0
