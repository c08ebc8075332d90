import numpy as np

from penstock.rollout.evidence.once import MOST, Once
from penstock.rollout.evidence.pack import pack, unpack


def units(*values):
    return np.array(values, np.uint64)


def test_each_caller_counts_once_within_a_chunk_and_later():
    once = Once()
    assert once.first(units(5, 6, 5, 7)).tolist() == [True, True, False, True]
    assert once.first(units(6, 8)).tolist() == [False, True]


def test_those_who_do_not_return_always_count():
    once = Once()
    assert once.first(units(0, 0, 3, 0, 3)).tolist() == [True, True, True, True, False]
    assert once.first(units(0)).all()


def test_after_so_many_callers_no_new_one_counts():
    once = Once()
    rng = np.random.default_rng(1)
    counted = sum(once.first(rng.integers(1, 1 << 63, 50_000).astype(np.uint64)).sum() for _ in range(8))
    assert MOST <= counted <= MOST + 50_000
    assert once.first(units(0, 12345)).tolist() == [True, False]


def test_few_callers_are_lost_to_another_in_their_slot():
    once = Once()
    many = np.random.default_rng(2).integers(1, 1 << 63, 50_000).astype(np.uint64)
    assert once.first(many).mean() > 0.97


def test_it_is_read_back_as_it_was():
    once = Once()
    once.first(units(5, 6))
    again = unpack(pack(once), Once)
    assert again.first(units(5, 6, 7)).tolist() == [False, False, True]
