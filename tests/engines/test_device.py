"""Wishes for devices: their forms, their order, and what becomes of them on a given machine."""

import pytest

from penstock.core.errors import BadSetting, LoadFailed
from penstock.engines.device import Wish, choose, wanted


@pytest.mark.parametrize(
    ("device", "wishes"),
    [
        ("cpu", [("cpu", None)]),
        ("CUDA:1", [("cuda", 1)]),
        ("auto", [("cuda", None), ("mps", None), ("cpu", None)]),
        (("npu", "cpu"), [("npu", None), ("cpu", None)]),
        (["cuda:2", "auto"], [("cuda", 2), ("cuda", None), ("mps", None), ("cpu", None)]),
        (("cpu", "cpu"), [("cpu", None)]),
    ],
)
def test_devices_are_tried_in_the_order_given(device: object, wishes: list[tuple[str, int | None]]) -> None:
    assert wishes == wanted(device)  # type: ignore[arg-type]


def test_auto_is_what_the_engine_says() -> None:
    assert wanted("auto", auto=("gpu", "cpu")) == [("gpu", None), ("cpu", None)]


@pytest.mark.parametrize("device", ["", "cuda:", "cuda:x", "cuda:-1", ":1", "cuda 1", "0", "cuda:1:2"])
def test_odd_text_is_refused_with_the_forms_there_are(device: str) -> None:
    with pytest.raises(BadSetting, match=r"no device .*use 'auto', 'cuda', 'mps', 'cpu', .*'cuda:1'$"):
        wanted(device)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(BadSetting, match="empty list; use 'auto'"):
        wanted(())


def test_a_kind_that_the_engine_does_not_know_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"no device 'npu'; use 'auto', 'cuda', 'cpu'"):
        wanted("npu", known=("cuda", "cpu"))


@pytest.mark.parametrize(
    ("device", "there", "chosen"),
    [
        ("auto", {"cpu": 1}, ("cpu", 0)),
        ("auto", {"cpu": 1, "cuda": 2}, ("cuda", 0)),
        ("cuda:1", {"cpu": 1, "cuda": 2}, ("cuda", 1)),
        (("cuda:1", "cpu"), {"cpu": 1, "cuda": 1}, ("cpu", 0)),
    ],
)
def test_the_first_that_is_there_is_taken(
    device: str | tuple[str, ...], there: dict[str, int], chosen: tuple[str, int]
) -> None:
    assert chosen == choose(wanted(device), there, "PyTorch")


def test_none_is_taken_that_was_not_named() -> None:
    with pytest.raises(LoadFailed, match="PyTorch sees no cuda:2 nor mps here; have cpu, cuda:0, cuda:1"):
        choose(wanted(("cuda:2", "mps")), {"cpu": 1, "cuda": 2, "mps": 0}, "PyTorch")


def test_a_wish_reads_as_it_is_written() -> None:
    assert [str(Wish("cpu")), str(Wish("cuda", 1))] == ["cpu", "cuda:1"]


def test_an_example_with_a_number_is_of_a_kind_that_has_several() -> None:
    with pytest.raises(BadSetting, match=r"use 'auto', 'cpu', 'gpu', or one with a number, e.g. 'gpu:1'$"):
        wanted("tpu", known=("cpu", "gpu"))
    with pytest.raises(BadSetting, match=r"use 'auto', 'cpu'$"):
        wanted("tpu", known=("cpu",))
