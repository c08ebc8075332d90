"""V2 inference bodies: what is written is read again, and whatever else comes is refused with a sentence."""

from math import inf
from time import monotonic

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.core import tensors
from penstock.core.errors import InvalidRequest, PenstockError, Unsupported
from penstock.core.spec import Signature, TensorSpec
from penstock.core.types import Reply, Timing
from penstock.doors import v2_http

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)
TARGET = ("m", "3")
TAGS = {"traceparent": "00-1-2-01"}
TIMING = Timing(0.0015, 0.00025, 4)
X = {"name": "x", "shape": [2], "datatype": "FP32"}
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def decode(ask, tail=None, *, length=None):
    """Of a body as a client would send it; ``tail`` is what follows the JSON."""
    header = ask if isinstance(ask, bytes) else orjson.dumps(ask)
    if tail is not None and length is None:
        length = b"%d" % len(header)
    return v2_http.decode(TARGET, length, header + (tail or b""), TAGS)


def arrays(datatype, *, json):
    if datatype == "BYTES":
        element = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode) if json else st.binary()
        return SHAPES.flatmap(lambda shape: hnp.arrays(object, shape, elements=element))
    if datatype == "BF16":
        return SHAPES.flatmap(lambda s: hnp.arrays(np.uint16, s)).map(lambda a: a.view(ml_dtypes.bfloat16))
    dtype = tensors.dtype_of(datatype)
    finite = {"allow_nan": False, "allow_infinity": False} if json and dtype.kind == "f" else None
    return SHAPES.flatmap(lambda shape: hnp.arrays(dtype, shape, elements=finite))


@st.composite
def tensor_sets(draw):
    """Up to four tensors by name, and which of them travel as binary data."""
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4, unique=True))
    made, binary = {}, {}
    for name in names:
        datatype = draw(st.sampled_from(tensors.DATATYPES))
        binary[name] = datatype in ("FP16", "BF16") or draw(st.booleans())
        made[name] = draw(arrays(datatype, json=not binary[name]))
    return made, binary


def same(wanted, got):
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        if array.dtype == object:
            assert got[name].tolist() == array.tolist()
        else:
            assert got[name].tobytes() == array.tobytes()


def texts(array):
    return [value.decode() for value in array.ravel()] if array.dtype == object else array.ravel().tolist()


def body(made, binary):
    """A request as the specification says, written here without the code under test."""
    inputs, tail = [], b""
    for name, array in made.items():
        entry = {"name": name, "shape": array.shape, "datatype": tensors.datatype_of(array.dtype)}
        if binary[name]:
            raw = bytes(tensors.to_bytes(array))
            tail += raw
            entry["parameters"] = {"binary_data_size": len(raw)}
        else:
            entry["data"] = texts(array)
        inputs.append(entry)
    return {"inputs": inputs}, tail


@settings(quick, max_examples=200)
@given(tensor_sets())
def test_requests_are_read_as_they_were_meant(drawn):
    made, binary = drawn
    ask, tail = body(made, binary)
    request, form = decode(ask, tail if any(binary.values()) else None)
    same(made, request.inputs)
    assert (request.model, request.version, request.tags, request.deadline) == ("m", "3", TAGS, inf)
    assert not form.binary


@settings(quick, max_examples=200)
@given(tensor_sets(), st.booleans(), st.text(st.characters(exclude_categories=["Cs"])))
def test_answers_are_written_as_a_client_reads_them(drawn, default, id_):
    """Written, turned into a request and read again: all kinds of tensors, each in its form."""
    made, binary = drawn
    by_output = {name: chosen for name, chosen in binary.items() if chosen != default}
    form = v2_http.Form(id_, binary=default, by_output=by_output)
    parts, length = v2_http.encode(Reply("m", "3", made, TIMING), form)
    whole = b"".join(parts)
    header = orjson.loads(whole[:length] if length else whole)
    assert (header["model_name"], header["model_version"]) == ("m", "3")
    assert header.get("id", "") == id_
    for entry in header["outputs"]:
        assert ("data" in entry) != ("binary_data_size" in entry.get("parameters", {}))
        assert ("data" in entry) != binary[entry["name"]]
    if length:
        got = decode({"inputs": header["outputs"]}, whole[length:])[0].inputs
    else:
        got = decode({"inputs": header["outputs"]})[0].inputs
    same(made, got)


@quick
@given(tensor_sets())
def test_all_binary_answers_share_their_header(drawn):
    made = drawn[0]
    ask = {"inputs": [], "parameters": {"binary_data_output": True}}
    form = decode(ask)[1]
    for _ in range(2):
        parts, length = v2_http.encode(Reply("m", "3", made, TIMING), form)
        assert len(parts[0]) == length
        header = orjson.loads(parts[0])
        same(made, decode({"inputs": header["outputs"]}, b"".join(parts[1:]))[0].inputs)


def test_headers_are_shared_only_where_all_is_the_same():
    form = decode({"inputs": [], "parameters": {"binary_data_output": True}})[1]

    def said(model, version, **outputs):
        parts, _ = v2_http.encode(Reply(model, version, outputs, TIMING), form)
        header = orjson.loads(parts[0])
        return (
            header["model_name"],
            header["model_version"],
            [(o["name"], o["shape"]) for o in header["outputs"]],
        )

    one, two = np.zeros(1, np.int8), np.zeros(2, np.int8)
    assert said("m", "1", y=one) == ("m", "1", [("y", [1])])
    assert said("m", "1", y=two) == ("m", "1", [("y", [2])])
    assert said("n", "1", y=one) == ("n", "1", [("y", [1])])
    assert said("m", "2", y=one) == ("m", "2", [("y", [1])])
    assert said("m", "1", z=one) == ("m", "1", [("z", [1])])
    assert said("m", "1", y=np.zeros((1, 1), np.int8)) == ("m", "1", [("y", [1, 1])])
    assert said("m", "1", y=np.array([b""], object)) == ("m", "1", [("y", [1])])


def test_a_request_with_everything_is_read():
    before = monotonic()
    request, form = decode(
        {
            "id": "7",
            "parameters": {"timeout": 500_000, "priority": 2, "timing": True, "mine": 1.5, "text": "a"},
            "inputs": [{**X, "data": [1, 2], "parameters": {"unknown": 1}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}],
        }
    )
    assert (request.id, request.priority, request.outputs) == ("7", 2, ("y", "z"))
    assert before + 0.5 <= request.deadline <= monotonic() + 0.5
    assert (request.parameters["mine"], request.parameters["text"]) == (1.5, "a")
    assert form == v2_http.Form("7", binary=False, by_output={"y": True}, timing=True)


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({}, v2_http.Form()),
        ({"id": "a"}, v2_http.Form("a")),
        ({"id": "a", "parameters": {"binary_data_output": True}}, v2_http.Form("a", binary=True)),
        ({"parameters": {"binary_data_output": False}}, v2_http.Form()),
        ({"outputs": []}, v2_http.Form()),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
            },
            v2_http.Form(binary=True, by_output={"y": False}),
        ),
    ],
)
def test_the_form_of_the_answer(fields, form):
    assert decode({"inputs": [], **fields})[1] == form


@pytest.mark.parametrize("timeout", [0, 1 << 63, 10**400])
def test_no_time_out_and_an_endless_one_are_none(timeout):
    ask = b'{"inputs":[],"parameters":{"timeout":%d}}' % timeout
    assert decode(ask)[0].deadline == inf


MALFORMED = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"\xff", "not JSON"),
    (b'{"inputs":[{"name":"\xff\xfe"}]}', "not JSON"),
    (b'{"inputs":[{"name":"\\ud800"}]}', "not JSON"),
    (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}', "not JSON"),
    (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[Infinity]}]}', "not JSON"),
    (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1e999]}]}', "out of range"),
    (b'{"inputs":[]}x', "not JSON"),
    (b'{"inputs":' + b"[" * 100_000, "nested too deeply|not JSON|malformed"),
    (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000, "nested too deeply"),
    (b"null", "malformed: Expected `object`, got `null`"),
    (b"{}", "malformed: Object missing required field `inputs`"),
    ({"inputs": None}, "malformed"),
    ({"inputs": [None]}, "malformed"),
    ({"inputs": [{"name": "x"}]}, "missing required field `shape`"),
    ({"inputs": [{**X, "shape": [1.5], "data": [1]}]}, "malformed"),
    ({"inputs": [{**X, "shape": ["1"], "data": [1]}]}, "malformed"),
    ({"inputs": [{**X, "shape": [True, True], "data": [1]}]}, "malformed"),
    ({"inputs": [{**X, "datatype": 7, "data": [1]}]}, "malformed"),
    ({"inputs": [{**X, "parameters": {"a": None}, "data": [1]}]}, "malformed"),
    ({"inputs": [{**X, "parameters": {"a": []}, "data": [1]}]}, "malformed"),
    ({"inputs": [], "id": 7}, "malformed"),
    ({"inputs": [], "outputs": [{}]}, "malformed"),
    ({"inputs": [], "parameters": []}, "malformed"),
    ({"inputs": [X]}, "input 'x' has no data; send 'data', or binary data with its size"),
    ({"inputs": [{**X, "data": [1]}]}, "shape [2] needs 2 values, data has 1"),
    ({"inputs": [{**X, "data": [1, 2]}] * 2}, "input 'x' appears twice"),
    ({"inputs": [], "outputs": [{"name": "y"}] * 2}, "an output is asked for twice"),
    ({"inputs": [], "parameters": {"timeout": -1}}, "parameter 'timeout' is -1; it must be a whole number"),
    ({"inputs": [], "parameters": {"timeout": 1.5}}, "parameter 'timeout' is 1.5"),
    ({"inputs": [], "parameters": {"timeout": True}}, "parameter 'timeout' is True"),
    ({"inputs": [], "parameters": {"priority": "high"}}, "parameter 'priority' is 'high'"),
    ({"inputs": [], "parameters": {"binary_data_output": "yes"}}, "is 'yes'; it must be true or false"),
    ({"inputs": [], "parameters": {"timing": 1}}, "parameter 'timing' is 1; it must be true or false"),
    ({"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "'binary_data' is 1"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "says"), MALFORMED)
def test_a_malformed_request_is_refused_with_what_is_wrong(ask, says):
    with pytest.raises(InvalidRequest) as caught:
        decode(ask)
    assert any(each in str(caught.value) for each in says.split("|"))


@pytest.mark.parametrize(
    "ask",
    [
        {"inputs": [{**X, "parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 8}}]},
        {"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        {"inputs": [], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "a"}}]},
    ],
)
def test_what_is_understood_but_not_offered_is_said_to_be_so(ask):
    with pytest.raises(Unsupported, match="not offered"):
        decode(ask)


def sized(size, **more):
    return {"inputs": [{**X, "parameters": {"binary_data_size": size}, **more}]}


@pytest.mark.parametrize(
    ("ask", "tail", "says"),
    [
        (sized(8), None, "'x' has binary_data_size; that needs the header Inference-Header-Content-Length"),
        (sized(8, data=[1, 2]), bytes(8), "both data and binary_data_size; it must have one"),
        (sized(-1), bytes(8), "binary_data_size is -1; it must be a whole number"),
        (sized("8"), bytes(8), "binary_data_size is '8'"),
        (sized(8.0), bytes(8), "binary_data_size is 8.0"),
        (sized(True), bytes(8), "binary_data_size is True"),
        (sized(8), bytes(7), "says 8 binary bytes, but only 7 are left in the body"),
        (sized(2**62), bytes(8), "but only 8 are left"),
        (sized(4), bytes(4), "FP32 of shape [2] needs 8 bytes, got 4"),
        (sized(8), bytes(9), "1 bytes are left after the binary inputs"),
        ({"inputs": [{**X, "data": [1, 2]}]}, b"a", "1 bytes are left after the binary inputs"),
    ],
)
def test_binary_data_must_be_as_long_as_it_says(ask, tail, says):
    with pytest.raises(InvalidRequest) as caught:
        decode(ask, tail)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("length", "says"),
    [
        (b"", "is ''; it must be a whole number"),
        (b"-1", "is '-1'; it must be a whole number"),
        (b"1.5", "must be a whole number"),
        (b"0x10", "must be a whole number"),
        (b"+5", "must be a whole number"),
        ("٣".encode(), "must be a whole number"),
        (b"9" * 30, "must be a whole number"),
        (b"999", "is 999, but the body has only 13 bytes"),
        (b"12", "not JSON"),
        (b"00", "not JSON"),
    ],
)
def test_the_header_length_must_be_true(length, says):
    with pytest.raises(InvalidRequest) as caught:
        decode(b'{"inputs":[]}', length=length)
    assert says in str(caught.value)


def test_binary_inputs_come_in_the_order_of_the_json_between_json_ones():
    ask = {
        "inputs": [
            {"name": "b", "shape": [1], "datatype": "INT8", "parameters": {"binary_data_size": 1}},
            {"name": "j", "shape": [1], "datatype": "INT8", "data": [5]},
            {"name": "a", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
        ]
    }
    inputs = decode(ask, b"\1\2\3")[0].inputs
    assert {name: array.tolist() for name, array in inputs.items()} == {"b": [1], "j": [5], "a": [2, 3]}


# -- raw ------------------------------------------------------------------------------------------


def raw(shape, body, datatype="FP32", inputs=1):
    signature = Signature(tuple(TensorSpec(f"x{i}", datatype, shape) for i in range(inputs)), ())
    return v2_http.decode_raw(TARGET, body, TAGS, signature)


@pytest.mark.parametrize(
    ("shape", "datatype", "body", "becomes"),
    [
        ((-1, 2), "FP32", bytes(8), (1, 2)),
        ((-1, -1), "FP32", bytes(12), (1, 3)),
        ((-1, 3, -1), "INT8", bytes(12), (1, 3, 4)),
        ((2, 2), "INT16", bytes(8), (2, 2)),
        ((-1,), "FP32", bytes(4), (1,)),
        ((), "FP32", bytes(4), ()),
        ((-1, -1), "FP32", b"", (1, 0)),
        ((-1, 1), "BYTES", b"any\0thing", (1, 1)),
        ((-1,), "BYTES", b"any\0thing", (1,)),
        ((1,), "BYTES", b"", (1,)),
        ((-1, -1), "BYTES", b"a", (1, 1)),
    ],
)
def test_a_raw_body_is_one_row_of_the_only_input(shape, datatype, body, becomes):
    request, form = raw(shape, body, datatype)
    assert request.inputs["x0"].shape == becomes
    assert (request.model, request.version, request.tags, form.binary) == ("m", "3", TAGS, True)
    if datatype == "BYTES":
        assert request.inputs["x0"].ravel().tolist() == [body]
    else:
        assert request.inputs["x0"].tobytes() == body


@pytest.mark.parametrize(
    ("shape", "datatype", "body", "inputs", "says"),
    [
        ((-1, 2), "FP32", bytes(8), 2, "needs a model with one input; model 'm' has 2"),
        ((-1, 2), "FP32", bytes(8), 0, "needs a model with one input; model 'm' has 0"),
        ((-1, 2), "FP32", bytes(7), 1, "FP32 of shape [1, 2] needs 8 bytes, got 7"),
        ((-1, -1), "FP32", bytes(7), 1, "FP32 of shape [1, 1] needs 4 bytes, got 7"),
        ((-1, -1, -1), "FP32", bytes(8), 1, "at most one variable dimension; input 'x0' has 2"),
        ((-1, 0, -1), "FP32", bytes(8), 1, "needs 0 bytes, got 8"),
        ((-1, 2), "BYTES", bytes(8), 1, "a raw BYTES request needs shape [1]; input 'x0' has [2]"),
    ],
)
def test_a_raw_body_that_does_not_fit_is_refused(shape, datatype, body, inputs, says):
    with pytest.raises(InvalidRequest) as caught:
        raw(shape, body, datatype, inputs)
    assert says in str(caught.value)


# -- answers --------------------------------------------------------------------------------------


def reply(**outputs):
    return Reply("m", "3", outputs, TIMING)


def test_timing_is_answered_when_asked_for():
    parts, length = v2_http.encode(reply(y=np.ones(1, np.int8)), v2_http.Form("7", timing=True))
    assert (length, len(parts)) == (0, 1)
    assert orjson.loads(parts[0]) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "parameters": {"queue_us": 1500, "compute_us": 250, "batch_size": 4},
        "outputs": [{"name": "y", "datatype": "INT8", "shape": [1], "data": [1]}],
    }


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [v2_http.Form(), v2_http.Form(binary=True, by_output={"y": False})])
def test_what_json_has_no_number_for_is_refused_in_json(odd, form):
    outputs = {"y": np.array([1, odd], np.float32), "z": np.array([odd])}
    with pytest.raises(InvalidRequest, match="'y' is not finite and JSON has no NaN; use binary data"):
        v2_http.encode(reply(y=outputs["y"]), form)
    _, length = v2_http.encode(reply(**outputs), v2_http.Form(binary=True))
    assert length > 0


def test_the_word_null_in_a_text_is_no_nan():
    parts, _ = v2_http.encode(reply(y=np.array([b"null"], object)), v2_http.Form("null"))
    assert orjson.loads(parts[0])["outputs"][0]["data"] == ["null"]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones(1, np.float16), "FP16, which JSON cannot carry"),
        (np.ones(1, ml_dtypes.bfloat16), "BF16, which JSON cannot carry"),
        (np.array([b"\xff"], object), "not UTF-8 text"),
        (np.ones(1, np.complex64), "no V2 datatype"),
    ],
)
def test_what_json_cannot_carry_is_refused(array, says):
    with pytest.raises(InvalidRequest, match=says):
        v2_http.encode(reply(y=array), v2_http.Form())


# -- whatever comes -------------------------------------------------------------------------------

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)
SIZES = st.lists(st.integers(-1, 3) | st.sampled_from([2**31, 2**63, 10**30]), max_size=3)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "binary_data_output", "timeout", "priority", "timing", "a"]
    ),
    st.integers(-1, 9) | st.booleans() | st.text(max_size=2) | JSONISH,
    max_size=3,
)
INPUTS = st.fixed_dictionaries(
    {"name": st.sampled_from("xyz"), "shape": SIZES, "datatype": st.sampled_from([*tensors.DATATYPES, "?"])},
    optional={"data": JSONISH | st.lists(st.integers(0, 3), max_size=3), "parameters": PARAMETERS},
)
OUTPUTS = st.fixed_dictionaries({"name": st.sampled_from("yz")}, optional={"parameters": PARAMETERS})
ALMOST = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS | JSONISH, max_size=3) | JSONISH},
    optional={
        "id": st.text(max_size=2) | JSONISH,
        "parameters": PARAMETERS | JSONISH,
        "outputs": st.lists(OUTPUTS, max_size=3),
    },
)
LENGTHS = st.none() | st.sampled_from([b"true", b"0", b"1", b"999999", b"-1", b"x"])


def only_a_sentence(length, body):
    try:
        request, form = v2_http.decode(TARGET, length, body, {})
    except PenstockError as refused:
        assert len(str(refused)) > 10  # noqa: PT017 - what is fuzzed may also pass
    else:
        v2_http.encode(Reply("m", "", request.inputs, TIMING), v2_http.Form(form.id, binary=True))


@settings(quick, max_examples=1000)
@given(ALMOST | JSONISH, LENGTHS, st.binary(max_size=12))
def test_whatever_json_comes_only_a_sentence_comes_out(ask, length, tail):
    try:
        header = orjson.dumps(ask)
    except TypeError:
        header = repr(ask).encode(errors="replace")  # integers beyond 64 bits, lone surrogates
    only_a_sentence(b"%d" % len(header) if length == b"true" else length, header + tail)


@settings(quick, max_examples=500)
@given(st.binary(max_size=80), LENGTHS)
def test_whatever_bytes_come_only_a_sentence_comes_out(body, length):
    only_a_sentence(length, body)


@settings(quick, max_examples=500)
@given(st.data())
def test_a_good_request_with_a_few_bytes_changed_gives_only_a_sentence(data):
    ask = {
        "id": "1",
        "inputs": [{**X, "parameters": {"binary_data_size": 8}}, {**X, "name": "z", "data": [1, 2]}],
    }
    header = orjson.dumps(ask)
    body = bytearray(header + bytes(8))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    only_a_sentence(b"%d" % len(header), bytes(body))
