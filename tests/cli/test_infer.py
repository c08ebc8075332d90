"""``penstock infer``."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from penstock.cli.infer import as_json, as_text, parse, split
from penstock.client import Result
from penstock.core.errors import BadSetting
from penstock.core.tensors import dtype_of
from tests.cli.command import run
from tests.cli.v2_server import V2Server


@pytest.fixture
def server() -> Iterator[V2Server]:
    with V2Server() as running:
        yield running


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=[1]", ("x", "[1]")),
        ("a.npy", ("", "a.npy")),
        ('["a=b"]', ("", '["a=b"]')),
        ("@dir=1/x.json", ("", "@dir=1/x.json")),
        ("x=@y=z.json", ("x", "@y=z.json")),
        ("5", ("", "5")),
    ],
)
def test_an_input_is_a_name_and_a_value_or_a_value(text: str, expected: tuple[str, str]) -> None:
    assert split(text) == expected


def test_values_come_from_json_and_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([1, 2], np.int8))
    (tmp_path / "y.json").write_text("[[3]]")
    found = parse([f"x={tmp_path}/x.npy", f"y=@{tmp_path}/y.json", 'z=["a"]'])
    assert found["x"].tolist() == [1, 2]
    assert found["x"].dtype == np.int8
    assert (found["y"], found["z"]) == ([[3]], ["a"])
    assert parse(["[1, 2]"]) == [1, 2]


def test_what_cannot_be_read_says_what_can(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("no array")
    for text, message in [
        ("x=[1,", "is no JSON .* give JSON, @FILE.json or FILE.npy"),
        (f"x={tmp_path}/x.npy", r"cannot be read as \.npy"),
        (f"x={tmp_path}/none.npy", r"cannot be read as \.npy"),
        (f"x=@{tmp_path}/none.json", "cannot be read: No such file"),
    ]:
        with pytest.raises(BadSetting, match=message):
            parse([text])
    with pytest.raises(BadSetting, match="each needs its name"):
        parse(["[1]", "x=[2]"])


def test_an_answer_is_printed_with_its_shapes(server: V2Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("infer", "double", "-i", "[[1, 2.5, 3, 4]]", "--url", server.url) == 0
    assert capsys.readouterr().out == "double version 1\ny  FP32 [1, 4]\n[[2. 5. 6. 8.]]\n"


def test_an_answer_is_json_on_request(
    server: V2Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    (tmp_path / "request.json").write_text(json.dumps(body))
    assert run("infer", "double", "--request", f"{tmp_path}/request.json", "--url", server.url, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "model_name": "double",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2, 4, 6, 8]}],
    }


def test_the_servers_sentence_is_the_error(server: V2Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("infer", "nope", "-i", "[1]", "--url", server.url) == 2
    assert capsys.readouterr().err == "error: no model or path '/v2/models/nope'\n"


def test_inputs_or_a_request_but_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("infer", "double") == 2
    assert run("infer", "double", "--input", "1", "--request", "x") == 2
    assert run("infer", "double", "--request", "x", "--output", "y") == 2
    assert "give the inputs by --input, or a whole request by --request" in capsys.readouterr().err


def test_every_kind_of_output_can_be_shown() -> None:
    outputs = {
        "long": np.arange(1000),
        "words": np.array([b"a", b"\xff"], object),
        "half": np.array([0.5], dtype_of("BF16")),
        "nan": np.array([np.nan]),
        "yes": np.array([True]),
        "none": np.empty((0, 3), np.float32),
        "scalar": np.array(3, np.int16),
    }
    result = Result(outputs, "m")
    shown = as_text(result)
    assert "..." in shown
    assert "words  BYTES [2]\n['a' '\\\\xff']" in shown
    assert "half  BF16 [1]\n[0.5]" in shown
    by_name = {entry["name"]: entry["data"] for entry in json.loads(as_json(result))["outputs"]}
    assert by_name["words"] == ["a", "\\xff"]
    assert (by_name["half"], by_name["nan"], by_name["yes"]) == ([0.5], [None], [True])
    assert (by_name["none"], by_name["scalar"]) == ([], [3])
