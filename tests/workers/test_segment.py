"""Tensors go through shared memory as they are, whatever their dtype, shape or layout."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.tensors import DATATYPES, dtype_of
from penstock.workers.segment import ALIGN, Segment, join, room, view


def through(parts):
    """What the other side sees of requests that are joined."""
    joined = join(parts)
    offsets, need = room(one.size for one in joined)
    ours = Segment.create(need)
    theirs = Segment(os.dup(ours.fd), ours.size)
    blocks = [one.write(ours.root(), offset) for one, offset in zip(joined, offsets, strict=True)]
    ours.close()
    theirs.close()
    return {block.name: view(theirs.root(), block) for block in blocks}


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_every_datatype_goes_through(datatype):
    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype_of(datatype))
    seen = through([{"a": array}])["a"]
    assert seen.dtype == array.dtype
    assert (seen == array).all()


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=6))
def test_texts_go_through(texts):
    array = np.array(texts, object).reshape(len(texts), 1)
    assert (through([{"a": array}])["a"] == array).all()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 5))
def test_requests_are_joined_in_their_order(rows, wide):
    parts = [
        {"a": np.full((n, wide), i, np.int16), "b": np.full((n,), -i, np.float64)} for i, n in enumerate(rows)
    ]
    seen = through(parts)
    for name in "ab":
        assert (seen[name] == np.concatenate([part[name] for part in parts])).all()


def test_odd_layouts_are_joined_too():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    odd = [array[:, ::2], array.T[:3].T, array[::-1, :3]]
    seen = through([{"a": one} for one in odd])["a"]
    assert (seen == np.concatenate(odd)).all()
    foreign = array.astype(">f4")
    assert (through([{"a": foreign}])["a"] == array).all()


@pytest.mark.parametrize("shape", [(), (0,), (1, 0, 3)])
def test_scalars_and_empty_tensors_go_through(shape):
    array = np.zeros(shape, np.float32)
    assert through([{"a": array, "b": np.ones(2)}])["a"].shape == shape


def test_tensors_begin_on_cache_lines():
    offsets, need = room([1, 64, 65, 0, 3])
    assert (offsets, need) == ([0, 64, 128, 256, 256], 320)
    assert all(offset % ALIGN == 0 for offset in offsets)


def test_nobody_can_shrink_a_segment():
    """What is cut off kills whoever touches it, and a worker may not kill its server."""
    segment = Segment.create(100_000)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(segment.fd, 10)
    segment.close()


def test_arrays_outlive_their_segment():
    segment = Segment.create(10)
    root = segment.root()
    root[:3] = 7
    segment.close()
    del segment
    assert root[:3].tolist() == [7, 7, 7]
