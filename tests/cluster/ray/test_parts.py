"""Tensors arrive as they were sent, as one batch, and are not copied where they lie side by side."""

import pickle

import ml_dtypes
import numpy as np
import pytest

from penstock.cluster.ray import parts
from penstock.cluster.ray.parts import MERGE

DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", ml_dtypes.bfloat16]


def through(laden, align=64):
    """As Ray sends it: buffers one behind another in one piece of memory, each at a multiple of 64."""
    buffers = []
    data = pickle.dumps(laden, 5, buffer_callback=buffers.append)
    store = np.zeros(sum(len(b.raw()) + align for b in buffers) + align, np.uint8)
    at = -store.ctypes.data % align
    views = []
    for each in buffers:
        raw = np.frombuffer(each.raw(), np.uint8)
        store[at : at + len(raw)] = raw
        views.append(memoryview(store[at : at + len(raw)]).toreadonly())
        at += -(-len(raw) // align) * align
    return pickle.loads(data, buffers=views), store


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("columns", [8, MERGE, MERGE + 1])
def test_a_batch_arrives_as_the_requests_one_after_another(dtype, columns):
    rng = np.random.default_rng(0)
    pieces = [{"x": rng.integers(0, 2, (rows, columns)).astype(dtype)} for rows in (1, 2, 3)]
    sent, _ = through(parts.load(pieces))
    whole = parts.unload(sent)["x"]
    expected = np.concatenate([piece["x"] for piece in pieces])
    assert (whole.dtype, whole.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(whole.view(np.uint8), expected.view(np.uint8))
    assert not whole.flags.writeable


def test_large_requests_of_a_multiple_of_64_bytes_are_not_copied():
    requests = [{"x": np.full((2, MERGE), at, np.float32)} for at in range(3)]
    sent, store = through(parts.load(requests))
    assert len(sent["x"].pieces) == 3
    assert np.shares_memory(parts.unload(sent)["x"], store)


def test_others_are_joined_by_a_copy():
    requests = [{"x": np.full((1, MERGE + 1), at, np.int8)} for at in range(3)]
    sent, store = through(parts.load(requests))
    assert len(sent["x"].pieces) == 3
    assert not np.shares_memory(parts.unload(sent)["x"], store)


def test_small_requests_are_joined_before_they_are_sent():
    assert len(parts.load([{"x": np.ones((1, 4), np.float32)}] * 3)["x"].pieces) == 1


def test_bytes_and_odd_layouts_arrive():
    words = np.array([b"a", b"bc"], object)
    transposed = np.arange(6, dtype=np.int32).reshape(2, 3).T
    sent, _ = through(parts.load([{"words": words, "t": transposed, "scalar": np.array(7)}]))
    found = parts.unload(sent)
    assert found["words"].tolist() == [b"a", b"bc"]
    assert np.array_equal(found["t"], transposed)
    assert found["scalar"] == 7
