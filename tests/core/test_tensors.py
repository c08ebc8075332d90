"""Tensors from and to JSON values and raw bytes: what goes round, and what is refused with a sentence."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.core import tensors
from penstock.core.errors import InvalidRequest

JSON_TYPES = [name for name in tensors.DATATYPES if name not in ("FP16", "BF16", "BYTES")]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def numbers(datatype, *, finite=False):
    dtype = tensors.dtype_of(datatype)
    elements = {"allow_nan": False, "allow_infinity": False} if finite and dtype.kind == "f" else {}
    return SHAPES.flatmap(lambda shape: hnp.arrays(dtype, shape, elements=elements or None))


def same(array, other):
    assert array.dtype == other.dtype
    assert array.shape == other.shape
    if array.dtype == object:
        assert array.tolist() == other.tolist()
    else:
        assert array.tobytes() == other.tobytes()


def over_the_wire(array):
    return json.loads(orjson.dumps(tensors.to_json(array, "x"), option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("datatype", JSON_TYPES)
def test_json_goes_round_flat_and_nested(datatype):
    @quick
    @given(numbers(datatype, finite=True))
    def check(array):
        wire = over_the_wire(array)
        assert wire["datatype"] == datatype
        same(array, tensors.from_json("x", datatype, wire["shape"], wire["data"]))
        same(array, tensors.from_json("x", datatype, wire["shape"], array.tolist()))

    check()


@pytest.mark.parametrize("datatype", [*JSON_TYPES, "FP16"])
def test_bytes_go_round(datatype):
    @quick
    @given(numbers(datatype))
    def check(array):
        raw = tensors.to_bytes(array)
        assert len(raw) == array.nbytes
        same(array, tensors.from_bytes("x", datatype, array.shape, bytes(raw)))

    check()


@quick
@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.uint16, shape)))
def test_bf16_goes_round_as_bytes(bits):
    array = bits.view(ml_dtypes.bfloat16)
    same(array, tensors.from_bytes("x", "BF16", array.shape, bytes(tensors.to_bytes(array))))
    assert tensors.datatype_of(array.dtype) == "BF16"


def objects(elements):
    return SHAPES.flatmap(lambda shape: hnp.arrays(object, shape, elements=elements))


@quick
@given(objects(st.binary()))
def test_any_bytes_go_round_as_binary(array):
    same(array, tensors.from_bytes("x", "BYTES", array.shape, bytes(tensors.to_bytes(array))))


@quick
@given(objects(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_goes_round_as_json(array):
    wire = over_the_wire(array)
    expected = np.array([text.encode() for text in array.ravel()], object).reshape(array.shape)
    same(expected, tensors.from_json("x", "BYTES", wire["shape"], wire["data"]))
    same(expected, tensors.from_json("x", "BYTES", wire["shape"], array.tolist()))


def test_text_of_any_numpy_kind_is_bytes_on_the_wire():
    for array in (np.array(["a", "bc"]), np.array([b"a", b"bc"]), np.array(["a", b"bc"], object)):
        assert tensors.datatype_of(array.dtype) == "BYTES"
        assert tensors.to_bytes(array) == b"\x01\0\0\0a\x02\0\0\0bc"
        assert tensors.to_json(array, "x")["data"] == ["a", "bc"]


def test_the_other_byte_order_is_turned_round():
    array = np.array([1, 2], ">i4")
    assert tensors.datatype_of(array.dtype) == "INT32"
    assert bytes(tensors.to_bytes(array)) == b"\1\0\0\0\2\0\0\0"
    assert tensors.to_json(array, "x")["data"].tolist() == [1, 2]
    assert bytes(tensors.to_bytes(np.ones(10_000, ">f8"))) == np.ones(10_000).tobytes()


def test_arrays_that_are_not_contiguous_are_written_row_by_row():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert bytes(tensors.to_bytes(array)) == np.array([0, 3, 1, 4, 2, 5], np.float32).tobytes()
    assert tensors.to_json(array, "x")["data"].tolist() == [0, 3, 1, 4, 2, 5]


def test_large_arrays_are_neither_copied_in_nor_out():
    raw = bytes(1 << 20)
    array = tensors.from_bytes("x", "FP32", [1 << 18], raw)
    assert not array.flags.owndata
    assert not array.flags.writeable
    out = tensors.to_bytes(array)
    assert isinstance(out, memoryview)
    assert np.shares_memory(np.frombuffer(out, np.uint8), array)


def test_data_that_lies_oddly_is_copied_to_where_a_model_may_read_it():
    array = tensors.from_bytes("x", "FP32", [2], memoryview(b"\0" + bytes(8))[1:])
    assert array.flags.aligned


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "says"),
    [
        ("FP32", [2], [1], "needs 2 values, data has 1"),
        ("FP32", [1], [1, 2], "needs 1 values, data has 2"),
        ("FP32", [2, 2], [[1, 2], [3]], "ragged"),
        ("FP32", [-1], [1], "every size must be 0 or more"),
        ("FP32", [-1, -1], [1], "every size must be 0 or more"),
        ("FP32", [1] * 65, [1], "65 dimensions; at most 64"),
        ("FP32", [0, 1 << 63], [], "too large"),
        ("FP32", [0, 1 << 40, 1 << 40], [], "too large"),
        ("FP32", [1], ["1"], "must be numbers; it has text"),
        ("FP32", [2], [1, "1"], "must be numbers; it has text"),
        ("FP32", [1, 2], [[1, "1"]], "must be numbers; it has text"),
        ("FP32", [1], "1", "must be numbers; it has text"),
        ("FP32", [1], [None], "it has null"),
        ("FP32", [1], None, "it has null"),
        ("FP32", [1], {}, "must be numbers"),
        ("FP32", [1], [True], "it has true or false"),
        ("FP32", [1], [1e39], "out of range for FP32"),
        ("FP64", [1], [10**400], "must be numbers"),
        ("INT8", [1], [128], "INT8 holds -128 to 127, data has 128 to 128"),
        ("UINT8", [1], [-1], "UINT8 holds 0 to 255"),
        ("INT32", [1], [1.5], "whole numbers; it has fractions"),
        ("INT64", [1], [1 << 63], "INT64 holds"),
        ("UINT64", [1], [-1], "UINT64 holds"),
        ("UINT64", [1], [1 << 64], "number is too large"),
        ("INT64", [2], [1 << 63, -1], "numbers too large"),
        ("BOOL", [1], [1], "must be true or false"),
        ("FP16", [1], [1.0], "FP16 has no JSON form; send it as binary data"),
        ("BF16", [1], [1.0], "BF16 has no JSON form; send it as binary data"),
        ("BYTES", [1], [1], "BYTES data must be strings"),
        ("BYTES", [1], [None], "BYTES data must be strings"),
        ("BYTES", [2], ["a", ["b"]], "needs|strings|ragged"),
        ("FP8", [1], [1.0], "no datatype 'FP8'; have BOOL, UINT8"),
        ("fp32", [1], [1.0], "no datatype 'fp32'"),
    ],
)
def test_json_values_that_do_not_fit_are_refused(datatype, shape, data, says):
    with pytest.raises(InvalidRequest, match=says):
        tensors.from_json("x", datatype, shape, data)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "says"),
    [
        ("FP32", [2], bytes(7), r"FP32 of shape \[2\] needs 8 bytes, got 7"),
        ("FP32", [2], bytes(9), "needs 8 bytes, got 9"),
        ("FP32", [-1, -2], bytes(8), "every size must be 0 or more"),
        ("FP32", [0, 1 << 63], b"", "too large"),
        ("FP32", [1] * 65, bytes(4), "at most 64"),
        ("FP32", [1 << 62, 1 << 62], b"", "needs"),
        ("BOOL", [2], b"\0\2", "BOOL bytes must be 0 or 1"),
        ("BYTES", [1], b"", "1 BYTES elements need at least 4 bytes each, got 0"),
        ("BYTES", [1 << 63], b"", "need at least 4 bytes each"),
        ("BYTES", [1], b"\1\0\0\0", "element 0 says 1 bytes, only 0 are left"),
        ("BYTES", [2], b"\4\0\0\0aaaa", "ends after 1 of 2"),
        ("BYTES", [1], b"\0\0\0\0a", "1 bytes are left after 1"),
        ("BYTES", [1], b"\xff\xff\xff\xff", "says 4294967295 bytes"),
        ("BYTES", [-1], b"", "every size must be 0 or more"),
        ("NONE", [1], b"", "no datatype 'NONE'"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype, shape, raw, says):
    with pytest.raises(InvalidRequest, match=says):
        tensors.from_bytes("x", datatype, shape, raw)


def test_numbers_in_the_lenient_forms_are_taken():
    assert tensors.from_json("x", "FP32", [2], [1, 2]).tolist() == [1.0, 2.0]
    assert tensors.from_json("x", "FP64", [], 5).tolist() == 5.0
    assert tensors.from_json("x", "UINT64", [2, 1], [[2**64 - 1], [0]]).tolist() == [[2**64 - 1], [0]]
    assert tensors.from_json("x", "INT64", [2], [-(2**63), 2**63 - 1]).tolist() == [-(2**63), 2**63 - 1]
    assert tensors.from_json("x", "INT8", [1, 1], [[[[5]]]]).tolist() == [[5]]
    assert tensors.from_json("x", "INT8", [2, 2], [[1, 2, 3, 4]]).tolist() == [[1, 2], [3, 4]]


def test_long_lists_are_taken_whole():
    values = list(range(100_000))
    assert tensors.from_json("x", "INT32", [100_000], values).tolist() == values
    assert tensors.from_json("x", "FP32", [1000, 100], values).ravel().tolist() == values


def test_one_long_text_among_numbers_costs_no_more_than_itself():
    """numpy gives every element the room of the longest: 1 MB × 4 × 300 here, without a guard."""
    data = ["x" * 1_000_000] + ["a"] * 300
    for values, shape in ((data, [301]), ([data], [1, 301]), ([[1.0], data], [302])):
        tracemalloc.start()
        with pytest.raises(InvalidRequest, match="it has text"):
            tensors.from_json("x", "FP32", shape, values)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)
SIZES = st.lists(st.integers(-2, 4) | st.sampled_from([2**31, 2**63, -(2**63), 2**200]), max_size=4)
DATATYPES = st.sampled_from([*tensors.DATATYPES, "", "FP8"])


@settings(quick, max_examples=600)
@given(DATATYPES, SIZES, JSONISH)
def test_whatever_json_comes_only_a_sentence_comes_out(datatype, shape, data):
    try:
        array = tensors.from_json("x", datatype, shape, data)
    except InvalidRequest:
        pass
    else:
        assert array.dtype == tensors.dtype_of(datatype)
        assert list(array.shape) == shape


@settings(quick, max_examples=600)
@given(DATATYPES, SIZES, st.binary(max_size=64))
def test_whatever_bytes_come_only_a_sentence_comes_out(datatype, shape, raw):
    try:
        array = tensors.from_bytes("x", datatype, shape, raw)
    except InvalidRequest:
        pass
    else:
        assert array.dtype == tensors.dtype_of(datatype)
        assert list(array.shape) == shape


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "M8[s]"])
def test_a_dtype_without_a_datatype_is_refused(dtype):
    with pytest.raises(InvalidRequest, match="has no V2 datatype; have BOOL"):
        tensors.datatype_of(np.dtype(dtype))


def test_json_cannot_carry_everything():
    with pytest.raises(InvalidRequest, match="'y' is FP16, which JSON cannot carry; use binary data"):
        tensors.to_json(np.ones(1, np.float16), "y")
    with pytest.raises(InvalidRequest, match="'y' is BF16"):
        tensors.to_json(np.ones(1, ml_dtypes.bfloat16), "y")
    with pytest.raises(InvalidRequest, match="'y' is not UTF-8 text; use binary data"):
        tensors.to_json(np.array([b"\xff"], object), "y")
    for odd in (np.nan, np.inf, -np.inf):
        with pytest.raises(InvalidRequest, match="'y' is not finite and JSON has no NaN; use binary data"):
            tensors.check_finite({"n": np.ones(1, np.int8), "y": np.array([1, odd], np.float32)})
    tensors.check_finite({"y": np.ones(3)})
