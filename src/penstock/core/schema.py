"""Mappings into typed structs, with errors that name the nearest known key."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_type_hints

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
        raise BadSetting(f"{where}: {_sentence(str(error), values, into)}") from None


def _sentence(message: str, values: Mapping[str, Any], into: type[msgspec.Struct]) -> str:
    """The message of msgspec, led by the key, and with what is allowed or what was found."""
    text, _, path = message.replace("`", "").partition(" - at ")
    key = path.removeprefix("$").removeprefix(".") or "the settings"
    found: Any = values
    allowed: Any = into
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
        allowed = get_type_hints(allowed).get(part) if isinstance(allowed, type) else None
    if text.startswith("Invalid enum value"):
        have = ", ".join(map(str, get_args(allowed)))
        text = f"cannot be {found!r}; have {have}" if have else text
    elif isinstance(found, str | int | float):
        text = f"{text.partition(', got ')[0]}, got {found!r}"
    return f"{key}: {text[:1].lower()}{text[1:]}"


def _check_keys(values: Mapping[str, Any], into: type[msgspec.Struct], where: str, prefix: str) -> None:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(into)}
    for key, value in values.items():
        if key not in known:
            raise BadSetting(f"{where}: no setting {prefix + key!r}; {nearest(key, list(known))}")
        inner = known[key]
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_keys(value, inner, where, f"{prefix}{key}.")
