"""The warnings of a split: repeated texts, texts of two labels, and classes that a part lacks."""

from jdq.worker.heads.split import (
    TRAIN,
    make_split,
    positions,
    quoted,
)
from tests.heads.split_keys import keys_of


def test_a_class_of_one_row_is_in_train_alone_and_counted() -> None:
    split = make_split(["a"] * 20 + ["b"] * 20 + ["rare"], keys_of(list(range(41))))
    assert split.parts[-1] == TRAIN
    assert split.warnings == ("1 class not in the test part, for lack of distinct texts: 'rare'",)


def test_repeats_are_counted_and_so_are_texts_of_two_labels() -> None:
    texts = [*range(20), 0, 0, 1]
    labels = ["a", "b"] * 10 + ["a", "b", "b"]
    split = make_split(labels, keys_of(texts))
    assert split.warnings[0].startswith("3 of 23 rows repeat the text of another row (20 distinct texts)")
    assert split.warnings[1] == "1 of 20 distinct texts have different labels in different rows"


def test_every_warning_counts_what_it_warns_of() -> None:
    singles = [f"single {i}" for i in range(9)]
    split = make_split(["a"] * 20 + singles + ["a", "b"], keys_of([*range(29), 0, 0]))
    assert split.warnings == (
        "2 of 31 rows repeat the text of another row (29 distinct texts): "
        "equal texts are kept in one part of the split",
        "1 of 29 distinct texts have different labels in different rows",
        f"10 classes not in the test part, for lack of distinct texts: 'b', {', '.join(map(repr, singles[:7]))}, ...",
    )
    assert (split.parts[20:29] == TRAIN).all()


def test_a_class_that_shares_its_only_text_with_a_rarer_one_may_be_untrained_and_that_is_said() -> None:
    labels = ["x"] * 4 + ["y"] * 3 + ["a", "b"] * 10
    shared = next(i for i in range(99, 0, -1) if positions(keys_of([i]), 0)[0] < 0.2)  # it is tested
    rest = [i for i in range(100, 200) if positions(keys_of([i]), 0)[0] > 0.2][:22]
    split = make_split(labels, keys_of([*[shared] * 5, *rest]))
    assert split.warnings[2:] == ("1 class without a row in the train part: 'x'",)


def test_without_a_validation_part_the_warning_says_what_early_stopping_uses() -> None:
    split = make_split(["a", "b"] * 3, keys_of(list(range(6))))
    assert split.warnings == ("no class has enough rows for a validation part: early stopping uses the training loss",)


def test_eight_names_are_shown() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'" and quoted("abcdefgh").endswith("'h'")
    assert quoted("abcdefghi").endswith("'g', 'h', ...") and quoted("abc", shown=2) == "'a', 'b', ..."


def test_texts_with_two_label_sets_are_counted_once_each() -> None:
    labels = ["a|b", "b|a", "a", "b", "c", "a", "", "a"] + ["a", "b"] * 5
    split = make_split(labels, keys_of([0, 0, 1, 1, 1, 2, 2, 3, *range(4, 14)]), label_separator="|")
    assert split.warnings[1] == "2 of 14 distinct texts have different labels in different rows"
