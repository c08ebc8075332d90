"""The tree of errors: one sentence each, a word for the metrics, and a drawing that is true."""

import re

import pytest

from penstock.core import errors


def tree(kind=errors.PenstockError):
    """Every class of the tree in this module; tests elsewhere may have made classes of their own."""
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return [kind, *(deeper for each in below for deeper in tree(each))]


def test_the_drawing_names_the_whole_tree_in_its_order():
    drawn = re.findall(r"^(?:[│ ]*[├└]── )?([A-Z]\w+)", errors.__doc__, re.MULTILINE)[1:]
    assert [kind.__name__ for kind in tree()] == drawn


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_an_error_is_its_sentence_and_has_a_word(kind):
    error = kind("this is wrong; that is right")
    assert str(error) == "this is wrong; that is right"
    assert re.fullmatch("[a-z_]+", errors.reason(error))


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.TooLarge("x"), "invalid"),
        (errors.UnknownModel("x"), "not_found"),
        (errors.ModelNotReady("x"), "unavailable"),
        (errors.Overloaded("x"), "overloaded"),
        (errors.BudgetSpent("x"), "budget"),
        (errors.PolicyFailed("x"), "policy"),
        (errors.LoadFailed("x"), "other"),
        (ValueError("x"), "other"),
    ],
)
def test_a_leaf_without_a_word_takes_its_parents(error, word):
    assert errors.reason(error) == word


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.BudgetSpent])
def test_a_full_queue_and_a_spent_budget_say_when_to_come_back(kind):
    assert kind("full").retry_after == 1.0
    assert kind("full", retry_after=3.5).retry_after == 3.5


def test_a_foreign_error_becomes_one_line_of_bounded_length():
    assert errors.one_line(ValueError("a\n  b\tc ")) == "a b c"
    assert errors.one_line(ValueError("x" * 9999)) == "x" * 500
    assert errors.one_line(ValueError()) == "ValueError"


def test_an_error_that_cannot_be_told_or_written_is_told_nevertheless():
    class Wordless(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    assert errors.one_line(Wordless()) == "Wordless"
    assert errors.one_line(ValueError("caf\udce9")) == r"caf\udce9"
