"""Samples from files, functions and live traffic, as a model's inputs want them."""

import json

import numpy as np
import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import Signature, TensorSpec
from penstock.optimize.data import read, samples, signature_of
from penstock.repository.locate import locate
from tests.optimize.models import mlp

X = TensorSpec("x", "FP32", (-1, 3))
ONE = Signature((X,), ())
TWO = Signature((TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("mask", "INT64", (-1, -1))), ())
PLAIN = Signature((TensorSpec("age", "FP32", (-1, 1)), TensorSpec("town", "BYTES", (-1,))), ())
ROWS = np.arange(12.0).reshape(4, 3)


def saved(tmp_path, name="rows.npz", **arrays):
    np.savez(tmp_path / name, **arrays)
    return str(tmp_path / name)


def written(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def refused(data, labels="", signature=ONE):
    with pytest.raises(BadSetting) as told:
        read(data, labels, signature)
    return str(told.value)


def as_lists(found):
    return [{name: array.tolist() for name, array in group.items()} for group in found.groups]


def request(x, **others):
    inputs = [{"name": "x", "datatype": "FP32", "shape": list(np.shape(x)), "data": x}]
    return json.dumps({"inputs": inputs, **others})


# -- formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels", "label", "y"])
def test_npz_holds_an_array_for_each_input_and_labels(tmp_path, name):
    found = read(saved(tmp_path, x=ROWS, **{name: [0, 1, 0, 1]}), "", ONE)
    assert found.groups[0]["x"].dtype == np.float32
    assert (as_lists(found), found.labels.tolist()) == ([{"x": ROWS.tolist()}], [0, 1, 0, 1])


def test_the_name_of_an_input_is_no_label(tmp_path):
    y = Signature((TensorSpec("y", "FP32", (-1, 3)),), ())
    assert read(saved(tmp_path, y=ROWS), "", y).labels is None


def test_an_array_without_a_name_is_the_only_input(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    np.savez(tmp_path / "rows.npz", ROWS)
    for name in ("rows.npy", "rows.npz"):
        assert as_lists(read(str(tmp_path / name), "", ONE)) == [{"x": ROWS.tolist()}]
    assert "give a .npz with an array for each" in refused(str(tmp_path / "rows.npy"), signature=TWO)


def test_csv_has_a_column_for_each_input(tmp_path):
    data = written(tmp_path, "rows.csv", "town,age,label\nUlm,3,a\nBonn,4.5,b\n")
    found = read(data, "", PLAIN)
    assert as_lists(found) == [{"age": [[3.0], [4.5]], "town": [b"Ulm", b"Bonn"]}]
    assert found.labels.tolist() == ["a", "b"]


def test_csv_gives_the_columns_of_numbers_to_the_only_input(tmp_path):
    data = written(tmp_path, "rows.csv", "who,a,b,kind,c\nme,1,2,0,\nyou,4,5,1,6\n")
    found = read(data, "kind", ONE)
    np.testing.assert_equal(found.groups[0]["x"], np.float32([[1, 2, np.nan], [4, 5, 6]]))
    assert found.labels.tolist() == [0, 1]


def test_a_row_of_csv_that_is_cut_off_is_named(tmp_path):
    assert "row 3: 2 values; the header names 3" in refused(written(tmp_path, "r.csv", "a,b,c\n1,2,3\n4,5\n"))


def test_lines_of_requests_are_grouped_by_shape_with_their_labels(tmp_path):
    varied = Signature((TensorSpec("x", "FP32", (-1, -1)),), ())
    lines = [request([[1, 2]], label=7), request([[3]], label=8), request([[4, 5], [6, 7]], label=[9, 10])]
    found = read(written(tmp_path, "rows.jsonl", "\n".join(lines)), "", varied)
    assert as_lists(found) == [{"x": [[1, 2], [4, 5], [6, 7]]}, {"x": [[3]]}]
    assert found.labels.tolist() == [7, 9, 10, 8]


def test_json_is_one_request(tmp_path):
    assert read(written(tmp_path, "rows.json", request(ROWS.tolist())), "", ONE).rows == 4
    assert "no V2 infer request" in refused(written(tmp_path, "odd.json", '{"x": [1]}'))


@pytest.mark.parametrize("name", ["mapping", "pair", "several", "several_and_labels"])
def test_a_function_gives_a_mapping_or_several_with_labels_or_without(tmp_path, monkeypatch, name):
    (tmp_path / "mine_for_data.py").write_text(
        "import numpy as np\n"
        "def mapping(): return {'x': np.ones((2, 3)), 'y': [1, 2]}\n"
        "def pair(): return {'x': np.ones((2, 3))}, [1, 2]\n"
        "def several(): return [{'x': np.ones((1, 3))}] * 2\n"
        "def several_and_labels(): return [{'x': np.ones((1, 3))}] * 2, [1, 2]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = read(f"mine_for_data:{name}", "", ONE)
    assert as_lists(found) == [{"x": [[1.0] * 3] * 2}]
    assert (None if found.labels is None else found.labels.tolist()) == (
        None if name == "several" else [1, 2]
    )


def test_a_function_that_fails_or_gives_something_else_is_said_so():
    assert "json:loads failed: TypeError" in refused("json:loads")
    assert "math:pi gave float; it should give a mapping" in refused("math:pi")


def test_a_file_of_another_kind_is_told_what_there_is(tmp_path):
    assert "a file (.npz, .npy, .csv, .json, .jsonl)" in refused("rows.parquet")
    assert "No such file" in refused(str(tmp_path / "none.npz"))
    assert "cannot be read" in refused(written(tmp_path, "odd.npz", "no archive"))


# -- labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "txt"])
def test_labels_from_a_file_go_before_those_in_the_data(tmp_path, ending):
    right = [3, 2, 1, 0]
    file = tmp_path / f"right.{ending}"
    if ending == "npy":
        np.save(file, right)
    elif ending == "npz":
        np.savez(file, whatever=right)
    else:
        file.write_text("kind\n" * (ending == "csv") + "\n".join(map(str, right)))
    found = read(saved(tmp_path, x=ROWS, y=[9, 9, 9, 9]), str(file), ONE)
    assert found.labels.tolist() == right


def test_labels_that_are_nowhere_or_too_few_are_refused(tmp_path):
    data = saved(tmp_path, x=ROWS, kinds=[1, 2, 3, 4], short=[1])
    assert "did you mean 'kinds'?" in refused(data, "kind")
    assert "1 labels for 4 rows" in refused(data, "short")


# -- what inputs take --------------------------------------------------------------------------------


def test_an_input_that_is_missing_is_named_with_what_comes_near(tmp_path):
    sentence = refused(saved(tmp_path, idz=ROWS, mask=ROWS), signature=TWO)
    assert "nothing for input 'ids'; did you mean 'idz'? (the model's inputs: ids, mask)" in sentence


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (ROWS[0], "shape [3], the model takes [rows, 3] (a single row? give it an axis 0)"),
        (ROWS[:, :2], "shape [4, 2], the model takes [rows, 3]"),
        (np.full((4, 3), "a"), "holds text, the model takes FP32"),
        (np.full((4, 3), 1e300), "too large for FP32"),
    ],
)
def test_rows_that_do_not_fit_are_told_what_would(tmp_path, rows, sentence):
    assert sentence in refused(saved(tmp_path, x=rows))


@pytest.mark.parametrize(
    ("value", "datatype", "sentence"),
    [
        (1.5, "INT8", "has 1.5, the model takes INT8: whole numbers"),
        (np.nan, "INT64", "has nan"),
        (300, "INT8", "has 300 to 300, the model takes INT8: -128 to 127"),
        (-1.0, "UINT8", "0 to 255"),
        (2, "BOOL", "0 to 1"),
        (2, "BYTES", "the model takes BYTES: text or bytes"),
    ],
)
def test_a_value_that_would_become_another_is_refused(tmp_path, value, datatype, sentence):
    signature = Signature((TensorSpec("x", datatype, (-1, 1)),), ())
    assert sentence in refused(saved(tmp_path, x=np.full((2, 1), value)), signature=signature)


def test_whole_floats_become_integers():
    found = samples([{"ids": ROWS, "mask": ROWS > 2}], TWO, "here")
    assert [array.dtype.name for array in found.groups[0].values()] == ["int64", "int64"]


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(BadSetting, match="different numbers of rows"):
        samples([{"ids": ROWS, "mask": ROWS[:2]}], TWO, "here")


def test_no_samples_are_refused():
    with pytest.raises(BadSetting, match="what digits was asked holds no samples"):
        samples([], ONE, "what digits was asked")


def test_the_signature_is_what_the_engine_tells(tmp_path):
    inputs = signature_of(locate(str(mlp(tmp_path / "mlp.onnx")), tmp_path)).inputs
    assert inputs == (TensorSpec("x", "FP32", (-1, 16)),)
