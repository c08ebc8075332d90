"""Manifests as YAML, for people to read and change; only maps, lists, texts, numbers and booleans."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(?<![.-])", re.ASCII)
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Plain words that are no text to YAML 1.1, in any case of letters."""
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


def dump(documents: Iterable[Mapping[str, Any]], said: Callable[[dict[str, Any]], str] = lambda _: "") -> str:
    """All of them; ``said`` gives the comment above each."""
    return "---\n".join(_document(each, said(dict(each))) for each in documents)


def _document(manifest: Mapping[str, Any], said: str) -> str:
    head = [f"# {line}" for line in said.splitlines()]
    return "\n".join([*head, *_lines(manifest)]) + "\n"


def _lines(value: Any) -> Iterator[str]:
    """Lines of a map or list that is not empty."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _entry(f"{scalar(key)}:", each)
    else:
        for each in value:
            yield from _item(each)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value and _blockable(value):
        yield f"{head} |{'' if value.endswith(chr(10)) else '-'}"
        yield from (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    elif _nested(value):
        yield head
        yield from (f"  {line}" if line else "" for line in _lines(value))
    else:
        yield f"{head} {_flat(value)}"


def _item(value: Any) -> Iterator[str]:
    if not _nested(value):
        yield f"- {_flat(value)}"
        return
    first, *rest = _lines(value)
    yield f"- {first}"
    yield from (f"  {line}" if line else "" for line in rest)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str) and len(value) > 0


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[]"
    return scalar(value)


def _blockable(text: str) -> bool:
    """Whether the text comes out of a block scalar as it went in."""
    lines = text.split("\n")
    return (
        text.isprintable() or all(line.isprintable() for line in lines)
    ) and not (text[0] in " \n" or text.endswith("\n\n") or _UNSEEN.search(text))  # fmt: skip


def scalar(value: Any) -> str:
    """One value; a text stays plain where nothing else could be meant."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
