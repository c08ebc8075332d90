"""What a benchmark asks."""

from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest

from penstock.cli.payload import VARIETY, http_request, parse_dims, random_bodies, random_tensor, shape_of
from penstock.core.errors import BadSetting
from penstock.core.tensors import DATATYPES, datatype_of
from tests.cli.v2_server import METADATA, Seen, infer


def spec(*shape: int) -> dict[str, object]:
    return {"name": "x", "shape": list(shape), "datatype": "FP32"}


def test_open_dimensions_take_rows_given_sizes_and_sensible_sizes() -> None:
    assert shape_of(spec(-1, 4), 3, {}) == (3, 4)
    assert shape_of(spec(-1, -1), 2, {"x": 128}) == (2, 128)
    assert shape_of(spec(-1, -1), 2, {}) == (2, 16)
    assert shape_of(spec(-1, 3, -1, -1), 1, {}) == (1, 3, 224, 224)
    assert shape_of(spec(8, 4), 1, {}) == (8, 4)
    assert shape_of(spec(8, 4), 8, {}) == (8, 4)
    assert shape_of(spec(), 1, {}) == ()


def test_rows_that_a_fixed_model_cannot_take_are_refused() -> None:
    with pytest.raises(BadSetting, match=r"takes exactly 1 row\(s\); --rows 4 does not fit"):
        shape_of(spec(1, 4), 4, {})


@pytest.mark.parametrize("text", ["x", "x=", "=3", "x=0", "x=-1", "x=a"])
def test_a_dim_is_a_name_and_a_size(text: str) -> None:
    assert parse_dims(["a=b=3"]) == {"a=b": 3}
    with pytest.raises(BadSetting, match="must be NAME=SIZE"):
        parse_dims([text])


def test_a_dim_of_an_unknown_input_is_refused() -> None:
    with pytest.raises(BadSetting, match="no input 'y'; have x"):
        random_bodies(METADATA["double"], 1, {"y": 3}, True, 0)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_has_random_values(datatype: str) -> None:
    made = random_tensor(datatype, (4, 4), np.random.default_rng(0))
    assert (datatype_of(made.dtype), made.shape) == (datatype, (4, 4))


@pytest.mark.parametrize("binary", [True, False])
def test_bodies_are_valid_different_and_repeatable(binary: bool) -> None:
    bodies = random_bodies(METADATA["double"], 5, {}, binary, seed=3)
    assert len({body for _, body in bodies}) == VARIETY
    assert bodies == random_bodies(METADATA["double"], 5, {}, binary, seed=3)
    headers = {name.lower(): value for name, value in bodies[0][0].items()}
    status, _, answer = infer("double", Seen("POST", "", headers, bodies[0][1]))
    assert status == 200
    assert b'"shape": [5, 4]' in answer


def test_large_bodies_are_few() -> None:
    metadata = {"inputs": [{"name": "x", "datatype": "UINT8", "shape": [-1, 9 << 20]}]}
    assert len(random_bodies(metadata, 1, {}, True, 0)) == 3


def test_a_request_is_whole_http() -> None:
    url = urlsplit("http://user@host:81/base/")
    assert http_request(url, "/v2/models/m/infer", "k", {"Content-Type": "application/json"}, b"{}") == (
        b"POST /base/v2/models/m/infer HTTP/1.1\r\nHost: host:81\r\nContent-Length: 2\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer k\r\n\r\n{}"
    )


def test_a_body_of_several_inputs_carries_them_all() -> None:
    _, body = random_bodies(METADATA["two"], 2, {"ids": 7}, False, 0)[0]
    shapes = {entry["name"]: entry["shape"] for entry in orjson.loads(body)["inputs"]}
    assert shapes == {"ids": [2, 7], "word": [2]}
