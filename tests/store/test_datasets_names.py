"""Which names datasets and versions may have, and what an error says of an unknown one."""

import pytest

from jdq.store.datasets import InvalidName, UnknownDataset, check_name, name_from
from jdq.store.datasets.names import NAME_BYTES, check_version


def test_an_unknown_dataset_lists_at_most_twenty_others_and_the_nearest() -> None:
    known = [f"set-{number:02}" for number in range(21)]
    error = str(UnknownDataset("set-3", known[:20]))
    assert error.startswith("no dataset 'set-3'; the store has: set-00, set-01, ")
    assert "set-19; did you mean set-" in error
    more = str(UnknownDataset("nothing like it", known))
    assert more.endswith("set-18, set-19 and 1 more\n  try: jdq store ls")
    assert "20 more" not in more


@pytest.mark.parametrize("name", ["a" * 64, "語" * 64, "é" * 64, "𐐨" * (NAME_BYTES // 4)])
def test_the_longest_names_are_valid_and_one_character_more_is_not(name: str) -> None:
    assert check_name(name) == name
    longer = name + name[0]
    with pytest.raises(InvalidName, match=f"'{name[:64]}"):
        check_name(longer)
    assert name_from(longer) == name


def test_errors_quote_at_most_eighty_characters() -> None:
    with pytest.raises(InvalidName, match=f"^'{'A' * 80}' cannot"):
        check_name("A" * 200)
    with pytest.raises(InvalidName, match=f"^'{'z' * 80}' cannot"):
        check_version("z" * 200)


def test_a_shortened_name_ends_in_no_dash_and_keeps_its_letters() -> None:
    assert name_from("X" * 63 + " y") == "x" * 63
    assert name_from("--..X..--") == "x"
