"""What an instance carries is known for any policy, and is learned as it runs."""

from types import SimpleNamespace

import pytest

from penstock.core.spec import ModelSpec, Target
from penstock.core.types import ModelState
from penstock.metering.book import Book
from penstock.scaling.carrying import LOOP, Carrying
from penstock.scheduling.policy import Single


def carrying(samples=(), isolation="process", target=1000.0, *, batched=False):
    spec = ModelSpec(name="m", target=Target(p99_ms=target))
    state = ModelState(name="m", version="1", state="READY", spec=spec, isolation=isolation, batched=batched)
    live = SimpleNamespace(state=state, warmth=SimpleNamespace(samples=samples))
    return Carrying(live, Single(spec.batching, 1.0))


def ran(book, count, seconds):
    for _ in range(count):
        book.served(1, seconds, [0.0], [seconds])
    book.fold()


def test_a_policy_that_learns_nothing_is_followed_by_what_runs():
    it, book = carrying([(1, 0.02)] * 5), Book("m", "1", lambda: 0.0)
    assert it.look().carries == pytest.approx(50, rel=0.06)
    ran(book, 1, 0.2)
    it.fed(book)  # what ran before the first look may be the warm-up's
    for _ in range(30):
        ran(book, 20, 0.2)
        it.fed(book)
    assert it.look().carries == pytest.approx(5, rel=0.15)


def test_before_anything_has_run_nothing_is_known():
    it, book = carrying(), Book("m", "1", lambda: 0.0)
    assert it.look() is None
    it.fed(book)
    ran(book, 10, 0.1)
    it.fed(book)
    assert it.look().carries == pytest.approx(10, rel=0.06)


def test_the_loops_own_work_bounds_what_runs_in_it():
    assert carrying([(1, 1e-6)] * 5, "inline").look().carries == pytest.approx(1 / (LOOP + 1e-6), rel=0.06)
