"""Mappings into typed structs, with errors that name the nearest known key."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from penstock.core.errors import BadSetting

T = TypeVar("T", bound=msgspec.Struct)


def nearest(name: str, known: list[str]) -> str:
    """``; did you mean …?`` or the list of what is known."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"have {', '.join(sorted(known))}"


def convert(values: Mapping[str, Any], into: type[T], where: str) -> T:
    """A struct from plain values (as TOML gives them).

    Raises BadSetting naming ``where``, the key and what would be right.
    """
    _check_keys(values, into, where, "")
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{where}: {str(error).replace('$.', '')}") from None


def _check_keys(values: Mapping[str, Any], into: type[msgspec.Struct], where: str, prefix: str) -> None:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(into)}
    for key, value in values.items():
        if key not in known:
            raise BadSetting(f"{where}: no setting {prefix + key!r}; {nearest(key, list(known))}")
        inner = known[key]
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_keys(value, inner, where, f"{prefix}{key}.")
