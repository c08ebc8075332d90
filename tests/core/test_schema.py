"""Mappings into structs: what is wrong is named with its key and with what would be right."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct, field

from penstock.core.errors import BadSetting
from penstock.core.schema import convert, nearest


class Inner(Struct):
    kind: Literal["fast", "slow"] = "fast"
    count: Annotated[int, Meta(ge=1)] = 1


class Outer(Struct):
    name: str = ""
    inner: Inner = field(default_factory=Inner)
    table: dict[str, int] = {}


def test_values_become_a_struct():
    values = {"name": "a", "inner": {"kind": "slow", "count": 2}, "table": {"anything": 1}}
    assert convert(values, Outer, "here") == Outer("a", Inner("slow", 2), {"anything": 1})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"nam": "a"}, "here: no setting 'nam'; did you mean 'name'?"),
        ({"zzz": "a"}, "here: no setting 'zzz'; have inner, name, table"),
        ({"inner": {"cuont": 1}}, "here: no setting 'inner.cuont'; did you mean 'count'?"),
        ({"name": 1}, "here: name: expected str, got 1"),
        ({"inner": {"count": 0}}, "here: inner.count: expected int >= 1, got 0"),
        ({"inner": {"kind": "fats"}}, "here: inner.kind: cannot be 'fats'; have fast, slow"),
        ({"inner": 3}, "here: inner: expected object, got 3"),
        ({"table": {"a": "b"}}, "here: table[...]: expected int, got str"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(values, says):
    with pytest.raises(BadSetting) as caught:
        convert(values, Outer, "here")
    assert str(caught.value) == says


def test_the_nearest_name_or_all_of_them():
    assert nearest("onx", ["onnx", "torch"]) == "did you mean 'onnx'?"
    assert nearest("xyz", ["torch", "onnx"]) == "have onnx, torch"
