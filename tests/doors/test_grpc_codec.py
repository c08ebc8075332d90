"""ModelInfer messages to requests and back: typed and raw contents, parameters, deadlines."""

from math import inf

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.core.errors import InvalidRequest, Unsupported
from penstock.core.tensors import DATATYPES, dtype_of, from_bytes, to_bytes
from penstock.core.types import Reply, Request, Timing
from penstock.doors.grpc_codec import to_message, to_request
from penstock.proto import grpc_service_pb2 as pb

FIELD = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw, datatypes=DATATYPES):
    """A V2 datatype and an array of it; every bit pattern, NaN and trailing NUL bytes too."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    count = int(np.prod(shape))
    if datatype == "BYTES":
        array = np.empty(count, dtype=object)
        array[:] = draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    dtype = dtype_of(datatype)
    if datatype == "BOOL":
        return datatype, draw(hnp.arrays(dtype, shape))
    size = count * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    return datatype, np.frombuffer(raw, dtype).reshape(shape)


def raw_message(datatype, array, **more):
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(to_bytes(array))], **more)
    message.inputs.add(name="x", datatype=datatype, shape=array.shape)
    return message


def typed_message(datatype, array):
    message = pb.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=array.shape)
    getattr(tensor.contents, FIELD[datatype]).extend(array.ravel().tolist())
    return message


def decode(message, now=0.0, remaining=None):
    return to_request(message, now, remaining, {})


def only(message):
    return decode(message).inputs["x"]


@given(tensors())
def test_raw_contents_arrive_bit_by_bit(tensor):
    datatype, array = tensor
    got = only(raw_message(datatype, array))
    assert (array.dtype, array.shape) == (got.dtype, got.shape)
    assert bytes(to_bytes(array)) == bytes(to_bytes(got))


@given(tensors(tuple(FIELD)))
def test_typed_contents_equal_raw(tensor):
    datatype, array = tensor
    typed, raw = only(typed_message(datatype, array)), only(raw_message(datatype, array))
    assert (raw.dtype, raw.shape) == (typed.dtype, typed.shape)
    if array.dtype.kind == "f":  # a signalling NaN may lose its signal on the way through a double
        np.testing.assert_array_equal(raw, typed)
    else:
        assert bytes(to_bytes(raw)) == bytes(to_bytes(typed))


@given(tensors())
def test_answers_carry_every_datatype_raw(tensor):
    datatype, array = tensor
    message = to_message(Request(model="m", inputs={}), Reply("m", "1", {"y": array}, Timing(0, 0, 1)))
    [output], [raw] = message.outputs, message.raw_output_contents
    assert (datatype, list(array.shape)) == (output.datatype, list(output.shape))
    back = from_bytes("y", output.datatype, output.shape, raw)
    assert bytes(to_bytes(array)) == bytes(to_bytes(back))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_must_be_raw(datatype):
    message = pb.ModelInferRequest()
    message.inputs.add(name="x", datatype=datatype, shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(InvalidRequest, match=f"{datatype} has no typed form; use raw_input_contents"):
        decode(message)
    array = np.array([1.5], {"FP16": np.float16, "BF16": ml_dtypes.bfloat16}[datatype])
    assert only(raw_message(datatype, array)).tolist() == [1.5]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", 128), ("INT8", -129), ("INT16", 32768), ("UINT8", 256), ("UINT16", 65536)],
)
def test_a_typed_value_out_of_range_is_refused(datatype, value):
    with pytest.raises(InvalidRequest, match=f"{datatype} holds .*contents have 0 to {value}|{value} to 0"):
        decode(typed_message(datatype, np.array([0, value])))


def test_typed_contents_must_be_in_their_own_field():
    message = typed_message("FP64", np.ones(2))
    message.inputs[0].datatype = "FP32"
    with pytest.raises(InvalidRequest, match="FP32 belongs in fp32_contents, but fp64_contents is set"):
        decode(message)


@pytest.mark.parametrize("have", [0, 1, 3])
def test_typed_contents_must_fill_the_shape(have):
    message = typed_message("FP32", np.ones(have, np.float32))
    message.inputs[0].shape[:] = [2]
    with pytest.raises(InvalidRequest, match=rf"shape \[2\] needs 2 values, fp32_contents has {have}"):
        decode(message)


@pytest.mark.parametrize("datatype", ["BOOL", "FP32", "FP64"])
def test_fields_of_a_later_protocol_do_not_disturb_typed_contents(datatype):
    array = np.ones(3, dtype_of(datatype))
    message = typed_message(datatype, array)
    message.inputs[0].contents.MergeFromString(bytes([0xA2, 0x06, 2, 9, 9]))  # field 100, two bytes
    assert array.tolist() == only(message).tolist()


def test_raw_beside_typed_is_refused():
    message = typed_message("FP32", np.ones(1, np.float32))
    message.raw_input_contents.append(b"1234")
    with pytest.raises(InvalidRequest, match="contents beside raw_input_contents"):
        decode(message)


def test_raw_entries_must_match_the_inputs():
    message = raw_message("INT8", np.ones(1, np.int8))
    message.raw_input_contents.append(b"1")
    with pytest.raises(InvalidRequest, match="2 entries for 1 inputs"):
        decode(message)


def test_an_input_twice_is_refused():
    message = raw_message("INT8", np.ones(1, np.int8))
    message.inputs.append(message.inputs[0])
    message.raw_input_contents.append(b"1")
    with pytest.raises(InvalidRequest, match="input 'x' is there twice"):
        decode(message)


@pytest.mark.parametrize("shape", [[-1], [2**40, 2**40], [1] * 65])
@pytest.mark.parametrize("make", [raw_message, typed_message])
def test_absurd_shapes_are_refused(make, shape):
    message = make("INT8", np.ones(1, np.int8))
    message.inputs[0].shape[:] = shape
    with pytest.raises(InvalidRequest, match="'x'"):
        decode(message)


@pytest.mark.parametrize("make", [raw_message, typed_message])
def test_an_unknown_datatype_is_refused(make):
    message = make("INT8", np.ones(1, np.int8))
    message.inputs[0].datatype = "INT7"
    with pytest.raises(InvalidRequest, match="no datatype 'INT7'; have BOOL"):
        decode(message)


def test_shared_memory_and_classification_are_refused_by_name():
    message = pb.ModelInferRequest()
    message.inputs.add(name="x").parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unsupported, match="shared_memory_region is not offered here; send the data"):
        decode(message)
    message = pb.ModelInferRequest()
    message.outputs.add(name="y").parameters["classification"].int64_param = 3
    with pytest.raises(Unsupported, match="classification is not offered here"):
        decode(message)


def test_parameters_of_every_kind_are_passed():
    message = pb.ModelInferRequest(id="7", model_name="m", model_version="v2")
    message.parameters["b"].bool_param = True
    message.parameters["i"].int64_param = -1
    message.parameters["s"].string_param = "text"
    message.parameters["d"].double_param = 0.5
    message.parameters["u"].uint64_param = 2**64 - 1
    message.parameters["priority"].uint64_param = 3
    message.outputs.add(name="y")
    request = decode(message)
    assert request.parameters == {"b": True, "i": -1, "s": "text", "d": 0.5, "u": 2**64 - 1, "priority": 3}
    assert ("m", "v2", "7", ("y",), 3, inf) == (
        request.model,
        request.version,
        request.id,
        request.outputs,
        request.priority,
        request.deadline,
    )


def test_a_parameter_without_a_value_is_refused():
    message = pb.ModelInferRequest()
    message.parameters["p"].SetInParent()
    with pytest.raises(InvalidRequest, match="parameter 'p' has no value"):
        decode(message)


@pytest.mark.parametrize("name", ["timeout", "priority"])
@pytest.mark.parametrize("value", [{"int64_param": -1}, {"string_param": "1"}, {"bool_param": True}])
def test_reserved_numbers_must_be_whole(name, value):
    message = pb.ModelInferRequest()
    message.parameters[name].CopyFrom(pb.InferParameter(**value))
    with pytest.raises(InvalidRequest, match=f"parameter '{name}' must be a whole number"):
        decode(message)


@pytest.mark.parametrize(
    ("timeout_us", "remaining", "deadline"),
    [(0, None, inf), (0, 2.0, 102.0), (500_000, None, 100.5), (500_000, 2.0, 100.5), (5_000_000, 2.0, 102.0)],
)
def test_the_tighter_deadline_wins(timeout_us, remaining, deadline):
    message = pb.ModelInferRequest()
    message.parameters["timeout"].int64_param = timeout_us
    assert deadline == decode(message, now=100.0, remaining=remaining).deadline


def test_timing_is_answered_in_microseconds_when_asked_for():
    reply = Reply("m", "1", {}, Timing(0.0015, 0.002, 8))
    asked = Request(model="m", inputs={}, id="7", parameters={"timing": True})
    message = to_message(asked, reply)
    assert {name: message.parameters[name].int64_param for name in message.parameters} == {
        "queue_us": 1500,
        "compute_us": 2000,
        "batch_size": 8,
    }
    assert message.id == "7"
    assert not to_message(Request(model="m", inputs={}), reply).parameters
