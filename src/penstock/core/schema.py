"""Mappings into typed structs, with errors that name the nearest known key."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

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
    text, _, path = message.replace("`", "").replace(" | null", "").partition(" - at ")
    key, found, allowed = _found(path.removeprefix("$").removeprefix("."), values, into)
    if text.startswith("Invalid enum value"):
        have = ", ".join(map(str, _words(allowed)))
        text = f"cannot be {found!r}; have {have}" if have else text
    elif isinstance(found, str | int | float):
        text = f"{text.partition(', got ')[0]}, got {found!r}"
    return f"{key}: {text[:1].lower()}{text[1:]}"


def _found(path: str, values: Mapping[str, Any], into: type[msgspec.Struct]) -> tuple[str, Any, Any]:
    """What a path of msgspec leads to: its key, the value there, and the type that it should have.

    The path does not say which entry of a table was wrong: it is the first that cannot be converted.
    """
    found: Any = values
    allowed: Any = into
    named: list[str] = []
    for part in path.replace("[...]", "[]").split("."):
        name = part.removesuffix("[]")
        found = found.get(name) if isinstance(found, Mapping) else None
        allowed = next((get_type_hints(each).get(name) for each in _structs(allowed)), None)
        named.append(name)
        if name != part:
            inner = _entries(allowed)
            entries = found if isinstance(found, Mapping) else {}
            wrong = next((each for each in entries if not _converts(entries[each], inner)), "...")
            found, allowed = entries.get(wrong), inner
            named.append(_entry(name, wrong))
    return ".".join(named) or "the settings", found, allowed


def _converts(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _check_keys(values: Mapping[str, Any], into: type[msgspec.Struct], where: str, prefix: str) -> None:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(into)}
    for key, value in values.items():
        if key not in known:
            raise BadSetting(f"{where}: no setting {prefix + key!r}; {nearest(key, list(known))}")
        _check_value(value, known[key], where, prefix + key)


def _check_value(value: Any, kind: Any, where: str, key: str) -> None:
    """Likewise for what is below a key: a struct, a union with one, or a table of such."""
    if not isinstance(value, Mapping):
        return
    for struct in _structs(kind):
        _check_keys(value, struct, where, f"{key}.")
    inner = _entries(kind)
    for name, entry in value.items() if inner is not None else ():
        _check_value(entry, inner, where, f"{key}.{_entry(key, name)}")


def _entry(table: str, name: str) -> str:
    """As an error names it: a key itself may stand, by mistake, where its hash should."""
    return f"{name[:4]}…" if table == "keys" else name


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    """The type itself, or those of a union, as far as they are structs."""
    return [each for each in _options(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)]


def _words(kind: Any) -> list[Any]:
    return [word for each in _options(kind) if get_origin(each) is Literal for word in get_args(each)]


def _entries(kind: Any) -> Any:
    """The type of a table's entries; None for what is no table."""
    arguments = get_args(kind)
    table = get_origin(kind)
    return arguments[1] if isinstance(table, type) and issubclass(table, Mapping) else None


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
