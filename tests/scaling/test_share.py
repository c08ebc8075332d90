"""What a machine has is shared out so that nobody goes without."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.scaling.share import Claim, share


def claim(name="m", have=1, least=1, want=1, cores=1.0, size=0):
    return Claim(name=name, have=have, least=least, want=want, cores=cores, bytes=size)


@pytest.mark.parametrize(
    ("claims", "cores", "memory", "expected"),
    [
        ([claim(want=4)], 8, inf, {"m": 4}),
        ([claim(want=4)], 2, inf, {"m": 2}),
        ([claim(want=4, cores=0.5)], 2, inf, {"m": 4}),
        ([claim(want=4, cores=0.0)], 0, inf, {"m": 4}),
        ([claim(want=4, least=3)], 1, inf, {"m": 3}),
        ([claim(want=0, least=0)], 2, inf, {"m": 0}),
        ([claim("a", want=6), claim("b", want=3)], 6, inf, {"a": 4, "b": 2}),
        ([claim("a", want=9), claim("b", want=1)], 4, inf, {"a": 3, "b": 1}),
        ([claim(want=4, size=100)], 8, 250, {"m": 3}),
        ([claim(have=4, want=4, size=100)], 8, -50, {"m": 4}),
        ([claim("a", have=5, want=1, size=100), claim("b", want=4, size=100)], 8, 0, {"a": 1, "b": 4}),
        ([claim("a", want=4, cores=2), claim("b", want=4, cores=1)], 5, inf, {"a": 2, "b": 1}),
    ],
)
def test_what_there_is_goes_to_who_has_the_smallest_part_of_what_it_wants(claims, cores, memory, expected):
    assert share(claims, cores, memory) == expected


CLAIMS = st.lists(
    st.builds(
        claim,
        name=st.uuids().map(str),
        have=st.integers(0, 9),
        least=st.integers(0, 3),
        want=st.integers(0, 20),
        cores=st.floats(0, 8),
        size=st.integers(0, 1000),
    ),
    max_size=6,
)


@given(CLAIMS, st.integers(1, 64), st.integers(-1000, 10_000))
def test_nobody_has_less_than_the_least_nor_more_than_wanted_and_the_rest_fits(claims, cores, memory):
    given = share(claims, cores, memory)
    for each in claims:
        assert min(each.least, each.want) <= given[each.name] <= each.want
    extra = [each for each in claims if given[each.name] > min(each.least, each.want)]
    if extra:
        assert sum(given[each.name] * each.cores for each in claims) <= cores + 1e-6
