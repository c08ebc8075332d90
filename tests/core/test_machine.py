"""Cores and memory are shared out so that processes do not fight."""

import pytest

from penstock.core import machine
from penstock.core.machine import affordable, place


@pytest.mark.parametrize(
    ("count", "threads", "cores", "places"),
    [
        (2, 1, [0, 1], [(0,), (1,)]),
        (2, 2, [4, 5, 6, 7], [(4, 5), (6, 7)]),
        (1, 2, [0, 1], [()]),
        (3, 1, [0, 1], [(), (), ()]),
        (2, 1, [0, 1, 2, 3], [(), ()]),
    ],
)
def test_processes_that_fill_the_machine_keep_to_cores_of_their_own(count, threads, cores, places):
    assert place(count, threads, cores) == places


@pytest.mark.parametrize(
    ("wanted", "each", "free", "count"),
    [(4, 100, 1000, 4), (4, 100, 250, 3), (4, 100, 50, 1), (4, 0, 50, 4), (4, 100, 0, 4), (1, 100, 1, 1)],
)
def test_there_are_no_more_processes_than_memory_holds(wanted, each, free, count):
    assert affordable(wanted, each, free) == count


@pytest.mark.parametrize(
    ("kind", "flags", "overflows"),
    [("x86_64", "avx2 fma", True), ("x86_64", "avx2 avx512_vnni", False), ("aarch64", "asimd", False)],
)
def test_sums_of_8_bit_products_overflow_on_x86_before_vnni(monkeypatch, kind, flags, overflows):
    monkeypatch.setattr(machine.platform, "machine", lambda: kind)
    monkeypatch.setattr(machine.Path, "read_text", lambda self, **_: f"flags : {flags}")
    assert machine.overflows_int8() is overflows


def test_free_memory_is_that_of_the_container_where_it_is_less(monkeypatch):
    monkeypatch.setattr(machine, "_cgroup", lambda: 5)
    assert machine.free_memory() == 5
    monkeypatch.setattr(machine, "_cgroup", lambda: None)
    assert machine.free_memory() > 2**20


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (2.0, 2), (1.5, 2), (0.1, 1), (64.0, 8)])
def test_a_containers_time_is_so_many_cores(limit, expected):
    assert machine.within(range(8), limit) == list(range(expected))
