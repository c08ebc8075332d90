import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.core.tensors import dtype_of
from penstock.optimize.samples import CALIBRATION, Samples, gather, length


def rows(count, *shape):
    return np.arange(count * int(np.prod(shape)), dtype=np.float32).reshape(count, *shape)


def test_rows_of_the_same_shape_are_one_group_and_labels_follow_their_rows():
    asked = [{"x": np.full((1, wide), at)} for at, wide in enumerate((2, 3, 2, 3, 3))]
    samples = gather(asked, [10, 11, 12, 13, 14])
    assert [group["x"].shape for group in samples.groups] == [(2, 2), (3, 3)]
    assert [group["x"][:, 0].tolist() for group in samples.groups] == [[0, 2], [1, 3, 4]]
    assert samples.labels.tolist() == [10, 12, 11, 13, 14]


def test_requests_of_several_rows_keep_their_labels():
    asked = [{"x": rows(2, 1)}, {"x": rows(1, 2)}, {"x": rows(3, 1)}]
    samples = gather(asked, [0, 1, 2, 3, 4, 5])
    assert [length(group) for group in samples.groups] == [5, 1]
    assert samples.labels.tolist() == [0, 1, 3, 4, 5, 2]


def test_a_missing_label_and_other_inputs_are_refused_by_name():
    with pytest.raises(BadSetting, match="2 labels for 3 rows"):
        gather([{"x": rows(3, 1)}], [1, 2])
    with pytest.raises(BadSetting, match="sample 1 has inputs y; the first has x"):
        gather([{"x": rows(1, 1)}, {"y": rows(1, 1)}])
    with pytest.raises(BadSetting, match="there are no samples"):
        gather([])


@given(st.integers(2, 900), st.integers(0, 5))
def test_what_calibrates_never_judges_and_nothing_is_lost(count, seed):
    samples = Samples(({"x": np.arange(count)},), np.arange(count) * 2)
    calibration, judging = samples.split(seed)
    both = [*calibration.groups[0]["x"], *judging.groups[0]["x"]]
    assert list(range(count)) == sorted(both)
    assert min(CALIBRATION, max(1, count // 4)) == calibration.rows
    assert (judging.groups[0]["x"] * 2).tolist() == judging.labels.tolist()


def test_rows_that_are_sorted_by_class_are_mixed():
    samples = Samples(({"x": np.repeat([0, 1], 200)},))
    _, judging = samples.split()
    assert {0, 1} == set(judging.groups[0]["x"][:20].tolist())


def test_rows_are_taken_in_the_order_given():
    samples = Samples(({"x": np.arange(3)}, {"x": np.arange(10, 13)}), np.arange(6))
    taken = samples.take([5, 0, 3, 2])
    assert [group["x"].tolist() for group in taken.groups] == [[0, 2], [12, 10]]
    assert taken.labels.tolist() == [0, 2, 5, 3]


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "BF16", "INT64", "BOOL", "UINT8", "BYTES"])
def test_every_datatype_comes_back_as_it_was_saved(tmp_path, datatype):
    if datatype == "BYTES":
        array = np.array([[b"a\0", b""], ["ü".encode(), b"\xff"]], dtype=object)
    else:
        array = np.array([[0, 1], [1, 0]]).astype(dtype_of(datatype))
    samples = Samples(({"x": array}, {"x": array[:1]}), np.array([1, 2, 3]))
    samples.save(tmp_path / "saved")
    found = Samples.load(tmp_path / "saved")
    assert [array.tolist(), array[:1].tolist()] == [group["x"].tolist() for group in found.groups]
    assert array.dtype == found.groups[0]["x"].dtype
    assert found.labels.tolist() == [1, 2, 3]


def test_labels_that_are_text_come_back_as_bytes(tmp_path):
    Samples(({"x": rows(2, 1)},), np.array(["cat", "dog"])).save(tmp_path / "saved")
    assert Samples.load(tmp_path / "saved").labels.tolist() == [b"cat", b"dog"]


def test_batches_hold_rows_of_one_shape_and_all_of_them():
    samples = Samples(({"x": rows(5, 1)}, {"x": rows(2, 2)}))
    assert [length(batch) for batch in samples.batches(2)] == [2, 2, 1, 2]


def test_other_data_have_another_digest():
    one, other = (Samples(({"x": np.array([value])},)) for value in (1, 2))
    assert one.digest() == Samples(({"x": np.array([1])},)).digest() != other.digest()
