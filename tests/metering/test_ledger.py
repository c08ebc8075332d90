"""The ledger: books, statistics, windows, and what it keeps of unloaded versions."""

import gc
import weakref

import pytest

from penstock.core.types import BatchTally, Statistics, Tally
from penstock.metering import book as book_module
from penstock.metering.ledger import RETIRED, Ledger


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger(clock, wall=lambda: clock.now + 500_000)


def test_a_batch_shows_in_every_statistic(ledger, clock):
    book = ledger.book("digits", "1")
    book.served(3, 0.25, [0.5, 0.125], [0.75, 0.375])
    clock.now += 7
    book.failed("engine", 0.5)
    (got,) = ledger.statistics()
    p50, p99 = got.p50_ms, got.p99_ms
    assert p50 == pytest.approx(375, rel=0.1)
    assert p99 == pytest.approx(750, rel=0.1)
    assert got == Statistics(
        name="digits",
        version="1",
        last_inference_ms=501_000_000,
        inference_count=3,
        execution_count=1,
        success=Tally(2, 1_125_000_000),
        fail=Tally(1, 500_000_000),
        queue=Tally(2, 625_000_000),
        compute=Tally(2, 500_000_000),
        batches=(BatchTally(3, Tally(1, 250_000_000)),),
        p50_ms=p50,
        p99_ms=p99,
    )


def test_a_version_that_never_ran_has_no_quantiles_and_no_last_inference(ledger):
    ledger.book("digits", "1")
    assert ledger.statistics() == (Statistics(name="digits", version="1"),)


def test_batches_are_tallied_by_exact_size(ledger):
    book = ledger.book("digits", "1")
    for rows in (4, 1, 4):
        book.served(rows, 0.001 * rows, [0.0] * rows, [0.01] * rows)
    assert ledger.statistics()[0].batches == (
        BatchTally(1, Tally(1, 1_000_000)),
        BatchTally(4, Tally(2, 8_000_000)),
    )


def test_distinct_batch_sizes_are_bounded_and_the_totals_stay_whole(ledger):
    book = ledger.book("digits", "1")
    for rows in range(1, 1001):
        book.served(rows, 0.001, [0.0], [0.01])
    (got,) = ledger.statistics()
    assert len(got.batches) == book_module.SIZES
    assert got.execution_count == 1000
    assert got.inference_count == 500_500


def test_nothing_is_lost_over_many_folds(ledger):
    book = ledger.book("digits", "1")
    for _ in range(book_module.FULL * 3):
        book.served(1, 0.001, [0.002], [0.003])
    (got,) = ledger.statistics()
    assert got.success.count == book_module.FULL * 3
    assert got.success.ns == pytest.approx(book_module.FULL * 3 * 3e6)


def test_what_waits_to_be_folded_is_bounded_even_when_nobody_was_answered(ledger):
    book = ledger.book("digits", "1")
    for _ in range(book_module.FULL * 2):
        book.served(1, 0.001, [], [])
    assert len(book._batch_rows) < book_module.FULL
    assert ledger.statistics()[0].execution_count == book_module.FULL * 2


def test_statistics_can_be_asked_of_one_model_or_version(ledger):
    for model, version in (("b", "1"), ("a", "2"), ("a", "1")):
        ledger.book(model, version)
    names = [(s.name, s.version) for s in ledger.statistics()]
    assert names == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [s.version for s in ledger.statistics("a")] == ["1", "2"]
    assert [s.version for s in ledger.statistics("a", "2")] == ["2"]
    assert ledger.statistics("c") == ()


def test_recent_quantiles_forget_after_two_windows(ledger, clock):
    book = ledger.book("digits", "1")
    book.served(1, 0.1, [0.0], [0.1])
    clock.now += book_module.WINDOW * 1.5
    assert book.recent(0.5) == pytest.approx(0.1, rel=0.1)
    clock.now += book_module.WINDOW
    assert book.recent(0.5) is None


def test_recent_quantiles_follow_a_change(ledger, clock):
    book = ledger.book("digits", "1")
    for _ in range(30):
        clock.now += 10
        book.served(1, 0.1, [0.0], [0.1])
    for _ in range(13):
        clock.now += 10
        book.served(1, 2.0, [0.0], [2.0])
    assert book.recent(0.01) == pytest.approx(2.0, rel=0.1)


def test_a_late_turn_does_not_stretch_the_window(ledger, clock):
    book = ledger.book("digits", "1")
    book.served(1, 0.1, [0.0], [0.1])
    clock.now += book_module.WINDOW * 1.9
    book.served(1, 2.0, [0.0], [2.0])
    clock.now += book_module.WINDOW * 0.2
    assert book.recent(0.01) == pytest.approx(2.0, rel=0.1)


def test_a_version_loaded_again_goes_on_in_its_old_book(ledger):
    ledger.book("digits", "1").served(1, 0.1, [0.0], [0.1])
    ledger.forget("digits", "1")
    assert ledger.statistics() == ()
    ledger.book("digits", "1").served(1, 0.1, [0.0], [0.1])
    assert ledger.statistics()[0].success.count == 2


def test_a_reload_may_overlap_the_drain_of_the_old_one(ledger):
    old = ledger.book("digits", "1")
    new = ledger.book("digits", "1")
    new.waiting = lambda: 5
    ledger.forget("digits", "1")
    assert old is new
    assert new.waiting() == 5
    assert len(ledger.statistics()) == 1


def test_a_thousand_reloads_keep_only_the_latest_retired_versions(ledger):
    for version in range(1000):
        ledger.book("digits", str(version)).failed("engine", 0.1)
        ledger.refused("digits", str(version), "invalid")
        ledger.forget("digits", str(version))
    assert [b.version for b in ledger.books()] == [str(v) for v in range(1000 - RETIRED, 1000)]
    assert len(list(ledger.refusals())) == RETIRED


def test_a_retired_book_lets_go_of_its_scheduler(ledger):
    class Scheduler:
        def rows(self):
            return 3

    scheduler = Scheduler()
    gone = weakref.ref(scheduler)
    book = ledger.book("digits", "1")
    book.waiting = scheduler.rows
    assert book.waiting() == 3
    ledger.forget("digits", "1")
    del scheduler
    gc.collect()
    assert gone() is None
    assert book.waiting() == 0


def test_forgetting_what_is_not_loaded_does_nothing(ledger):
    ledger.forget("digits", "1")
    assert ledger.books() == []


def test_refusals_never_take_labels_from_callers(ledger):
    ledger.book("digits", "1")
    for i in range(100):
        ledger.refused(f"made-up-{i}", "1", "not_found")
        ledger.refused("digits", f"made-up-{i}", "not_found")
    ledger.refused("digits", "1", "invalid")
    assert sorted(ledger.refusals()) == [
        ("", "", "not_found", 100),
        ("digits", "", "not_found", 100),
        ("digits", "1", "invalid", 1),
    ]
