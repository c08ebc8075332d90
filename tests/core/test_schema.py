"""Mappings into structs: what is wrong is named with its key and with what would be right."""

from collections.abc import Mapping
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
    inners: Mapping[str, Inner] = {}
    keys: dict[str, Literal["red", "blue"] | Inner] = {}
    either: Inner | int | None = None


def test_values_become_a_struct():
    values = {"name": "a", "inner": {"kind": "slow", "count": 2}, "table": {"anything": 1}}
    assert convert(values, Outer, "here") == Outer("a", Inner("slow", 2), {"anything": 1})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"nam": "a"}, "here: no setting 'nam'; did you mean 'name'?"),
        ({"zzz": "a"}, "here: no setting 'zzz'; have either, inner, inners, keys, name, table"),
        ({"inner": {"cuont": 1}}, "here: no setting 'inner.cuont'; did you mean 'count'?"),
        ({"name": 1}, "here: name: expected str, got 1"),
        ({"inner": {"count": 0}}, "here: inner.count: expected int >= 1, got 0"),
        ({"inner": {"kind": "fats"}}, "here: inner.kind: cannot be 'fats'; have fast, slow"),
        ({"inner": 3}, "here: inner: expected object, got 3"),
        ({"table": {"a": "b"}}, "here: table.a: expected int, got 'b'"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(values, says):
    with pytest.raises(BadSetting) as caught:
        convert(values, Outer, "here")
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"inners": {"b": {}, "a": {"cuont": 1}}}, "no setting 'inners.a.cuont'; did you mean 'count'?"),
        ({"inners": {"b": {}, "a": {"count": 0}}}, "inners.a.count: expected int >= 1, got 0"),
        ({"inners": {"a.b": {"kind": "fats"}}}, "inners.a.b.kind: cannot be 'fats'; have fast, slow"),
        ({"inners": {"a": 1}}, "inners.a: expected object, got 1"),
        ({"inners": 1}, "inners: expected object, got 1"),
        ({"either": {"knd": 1}}, "no setting 'either.knd'; did you mean 'kind'?"),
        ({"either": {"count": 0}}, "either.count: expected int >= 1, got 0"),
        ({"either": "x"}, "either: expected int | object, got 'x'"),
    ],
)
def test_tables_and_unions_are_looked_into(values, says):
    with pytest.raises(BadSetting) as caught:
        convert(values, Outer, "here")
    assert str(caught.value) == f"here: {says}"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("green", "keys.secr…: cannot be 'green'; have red, blue"),
        ({"cuont": 1}, "no setting 'keys.secr….cuont'; did you mean 'count'?"),
        ({"count": 0}, "keys.secr….count: expected int >= 1, got 0"),
    ],
)
def test_what_may_be_a_key_by_mistake_is_not_told(value, says):
    with pytest.raises(BadSetting) as caught:
        convert({"keys": {"fine": "red", "secret": value}}, Outer, "here")
    assert str(caught.value) == f"here: {says}"


def test_tables_of_unions_become_what_they_are():
    values = {"keys": {"a": "red", "b": {"count": 3}}, "inners": {"c": {"kind": "slow"}}}
    made = convert(values, Outer, "here")
    assert made.keys == {"a": "red", "b": Inner("fast", 3)}
    assert made.inners == {"c": Inner("slow", 1)}


def test_the_nearest_name_or_all_of_them():
    assert nearest("onx", ["onnx", "torch"]) == "did you mean 'onnx'?"
    assert nearest("xyz", ["torch", "onnx"]) == "have onnx, torch"
