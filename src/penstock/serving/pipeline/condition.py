"""When a step runs: comparisons of numbers and texts with a tensor's values, row by row; pure.

    condition  comparison | not … | … and … | … or … | (…)
    comparison value (< <= > >= == !=) value …
    value      number | 'text' | tensor | function(tensor)

Python's own parser reads it, and nothing of Python but the above is let through.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.tensors import Array, as_bytes

Rows: TypeAlias = Mapping[str, Array]
"""Tensors by name, each with two axes: rows, and the values of each."""


class Number(Struct, frozen=True):
    value: float


class Text(Struct, frozen=True):
    value: str


class Of(Struct, frozen=True):
    """A tensor's only value in each row, or what a function makes of its values."""

    tensor: str
    function: str
    place: str


class Compare(Struct, frozen=True):
    left: "Value"
    sign: str
    right: "Value"
    place: str


class Joined(Struct, frozen=True):
    """``and``, ``or``, or ``not`` of one."""

    word: str
    tests: "tuple[Test, ...]"


Value: TypeAlias = Number | Text | Of
Test: TypeAlias = Compare | Joined


class Kind(Struct, frozen=True):
    """What is known of a tensor at load: its datatype, and the values of each row (-1: it varies)."""

    datatype: str
    values: int


def _entropy(values: Array) -> Array:
    """In nats, of values that sum to 1."""
    p = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == 0, 0.0, -p * np.log(p))
    entropy: Array = terms.sum(axis=1)
    return entropy


def _margin(values: Array) -> Array:
    top = np.partition(values, -2, axis=1)[:, -2:]
    margin: Array = top[:, 1] - top[:, 0]
    return margin


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "max": lambda values: values.max(axis=1),
    "min": lambda values: values.min(axis=1),
    "mean": lambda values: values.mean(axis=1),
    "argmax": lambda values: values.argmax(axis=1),
    "margin": _margin,
    "entropy": _entropy,
}
"""Of each row: ``margin`` is the largest value less the one after it."""
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ALLOWED = (
    "a condition compares (< <= > >= == !=) numbers, 'texts', tensors with one value a row, and "
    f"{', '.join(FUNCTIONS)} of a tensor, joined by and, or, not"
)
_LONGEST = 1000
_LARGEST = 10**300


# -- reading -------------------------------------------------------------------------------------------


def parse(text: str) -> Test:
    """Raises BadSetting that names the column, and what is allowed."""
    if len(text) > _LONGEST:
        raise BadSetting(f"the condition has {len(text)} characters; at most {_LONGEST} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        test = _test(tree, text)
    except SyntaxError as error:
        raise BadSetting(f"column {error.offset or 1} of {text!r}: {error.msg}; {_ALLOWED}") from None
    except (RecursionError, MemoryError, ValueError):
        raise BadSetting(f"{text[:40]!r}… cannot be read; {_ALLOWED}") from None
    if not tensors(test):
        raise BadSetting(f"{text!r} names no tensor; {_ALLOWED}")
    return test


def tensors(test: Test) -> tuple[str, ...]:
    """Those that it names, each once."""
    return tuple(dict.fromkeys(one.tensor for each in _compared(test) for one in _named(each)))


def _test(node: ast.expr, text: str) -> Test:
    match node:
        case ast.BoolOp(op, values):
            word = "and" if isinstance(op, ast.And) else "or"
            return Joined(word, tuple(_test(value, text) for value in values))
        case ast.UnaryOp(ast.Not(), operand):
            return Joined("not", (_test(operand, text),))
        case ast.Compare(left, signs, rights):
            sides = [_value(side, text) for side in (left, *rights)]
            each = tuple(
                Compare(sides[at], _sign(sign, node, text), sides[at + 1], _place(node, text))
                for at, sign in enumerate(signs)
            )
            return each[0] if len(each) == 1 else Joined("and", each)
    raise BadSetting(f"{_place(node, text)} is no comparison; {_ALLOWED}")


def _sign(sign: ast.cmpop, node: ast.expr, text: str) -> str:
    if type(sign) not in _SIGNS:
        raise BadSetting(f"{_place(node, text)} is not offered; {_ALLOWED}")
    return _SIGNS[type(sign)]


def _value(node: ast.expr, text: str) -> Value:
    place = _place(node, text)
    match node:
        case ast.Constant(bool() | int() | float() as number):
            return _number(number, place)
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return _number(-number, place)
        case ast.Constant(str() as words):
            return Text(words)
        case ast.Name(name):
            return Of(name, "", place)
        case ast.Call(ast.Name(function), [ast.Name(name) | ast.Constant(str() as name)], []):
            if function not in FUNCTIONS:
                raise BadSetting(f"{place}: no function {function!r}; {nearest(function, list(FUNCTIONS))}")
            return Of(name, function, place)
    raise BadSetting(f"{place} is not offered; {_ALLOWED}")


def _number(number: float, place: str) -> Number:
    if abs(number) > _LARGEST:
        raise BadSetting(f"{place[:40]}… is too large a number")
    return Number(number)


def _place(node: ast.expr, text: str) -> str:
    return f"column {node.col_offset + 1}: {ast.get_source_segment(text.strip(), node)!r}"


def _compared(test: Test) -> Iterator[Compare]:
    if isinstance(test, Compare):
        yield test
    else:
        for each in test.tests:
            yield from _compared(each)


def _named(test: Compare) -> list[Of]:
    return [side for side in (test.left, test.right) if isinstance(side, Of)]


# -- checking ------------------------------------------------------------------------------------------


def check(test: Test, kinds: Mapping[str, Kind]) -> None:
    """Raises BadSetting where a tensor is not known, or cannot be compared in this way."""
    for each in _compared(test):
        words = [_check_value(side, kinds) for side in (each.left, each.right)]
        if words[0] != words[1]:
            raise BadSetting(f"{each.place} compares a number with a text")
        if words[0] and each.sign not in ("==", "!="):
            raise BadSetting(f"{each.place}: texts are compared by == and != alone")


def _check_value(value: Value, kinds: Mapping[str, Kind]) -> bool:
    """Whether it is a text."""
    if not isinstance(value, Of):
        return isinstance(value, Text)
    kind = kinds.get(value.tensor)
    if kind is None:
        raise BadSetting(f"{value.place}: no tensor {value.tensor!r} here; {nearest(value.tensor, [*kinds])}")
    text = kind.datatype == "BYTES"
    if value.function and text:
        raise BadSetting(f"{value.place}: {value.tensor!r} holds texts, which have no {value.function}")
    if value.function == "margin" and kind.values in (0, 1):
        raise BadSetting(f"{value.place}: tensor {value.tensor!r} has one value a row; margin needs two")
    if not value.function and kind.values not in (-1, 1):
        raise BadSetting(_many(value, kind.values))
    return text


def _many(value: Of, count: int) -> str:
    return (
        f"{value.place}: tensor {value.tensor!r} has {count} values a row; "
        f"say which is meant, e.g. max({value.tensor})"
    )


# -- answering -----------------------------------------------------------------------------------------


def holds(test: Test, rows: Rows) -> Array:
    """A truth for each row (one alone where no tensor has rows); NaN compares as false, as ever.

    Raises ValueError where a tensor has more or fewer values a row than can be compared.
    """
    if isinstance(test, Compare):
        left, right = _sides(test, rows)
        return np.atleast_1d(np.asarray(_OPERATORS[test.sign](left, right), np.bool_))
    parts = [holds(each, rows) for each in test.tests]
    if test.word == "not":
        return ~parts[0]
    join = np.logical_and if test.word == "and" else np.logical_or
    answer = parts[0]
    for part in parts[1:]:
        answer = join(answer, part)
    return answer


def _sides(test: Compare, rows: Rows) -> tuple[Any, Any]:
    left, right = _evaluate(test.left, rows), _evaluate(test.right, rows)
    return left, right


def _evaluate(value: Value, rows: Rows) -> Any:
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Text):
        return value.value.encode()
    values = rows[value.tensor]
    count = values.shape[1]
    if value.function:
        if count < (2 if value.function == "margin" else 1):
            raise ValueError(f"{value.place}: tensor {value.tensor!r} has {count} values a row, too few")
        return FUNCTIONS[value.function](_wide(values))
    if count != 1:
        raise ValueError(_many(value, count))
    if values.dtype.kind in "OSU":
        return np.array([as_bytes(one) for one in values[:, 0]], dtype=object)
    return _wide(values)[:, 0]


def _wide(values: Array) -> Array:
    """Halves as whole floats: not every function knows bfloat16."""
    return values.astype(np.float32) if values.dtype.itemsize == 2 and values.dtype.kind in "fV" else values
