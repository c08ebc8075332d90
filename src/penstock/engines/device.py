"""What ``device`` asks for, as kinds and numbers of devices in the order in which they are to be tried."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.core.errors import BadSetting, LoadFailed

BEST = ("cuda", "mps", "cpu")
"""What ``auto`` tries unless an engine knows better."""
_FORM = re.compile(r"([a-z][a-z_]*)(?::(\d{1,4}))?")


class Wish(NamedTuple):
    """A kind of device, in lower case, and which of them; None where the setting names no number."""

    kind: str
    number: int | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number}"


def wanted(device: str | Sequence[str], auto: Sequence[str] = BEST, known: Sequence[str] = ()) -> list[Wish]:
    """The wishes in order, without repetition; ``auto`` stands for the kinds of ``auto``.

    Raises BadSetting for text of another form, and for a kind beside ``known`` where that is given.
    """
    texts = [device] if isinstance(device, str) else list(device)
    if not texts:
        raise BadSetting(f"device is an empty list; {_right(known or auto)}")
    wishes: list[Wish] = []
    for text in texts:
        name = text.strip().lower()
        wishes += (
            [Wish(kind) for kind in auto] if name == "auto" else [_wish(name, text, known or auto, known)]
        )
    return list(dict.fromkeys(wishes))


def _wish(name: str, text: str, examples: Sequence[str], known: Sequence[str]) -> Wish:
    match = _FORM.fullmatch(name)
    if match is None or (known and match[1] not in known):
        raise BadSetting(f"no device {text!r}; {_right(examples)}")
    return Wish(match[1], None if match[2] is None else int(match[2]))


def _right(kinds: Sequence[str]) -> str:
    numbered = next((kind for kind in kinds if kind != "cpu"), "")
    some = ", ".join(map(repr, ("auto", *kinds)))
    return f"use {some}" + (f", or one with a number, e.g. '{numbered}:1'" if numbered else "")


def choose(wishes: Sequence[Wish], there: Mapping[str, int], framework: str) -> Wish:
    """The first wish that the machine can fulfil, with its number (0 where it named none).

    ``there`` is how many devices of each kind the framework sees.
    Raises LoadFailed that says which there are.
    """
    for kind, number in wishes:
        if (number or 0) < there.get(kind, 0):
            return Wish(kind, number or 0)
    names = [f"{kind}:{i}" if count > 1 else kind for kind, count in there.items() for i in range(count)]
    asked = " nor ".join(map(str, wishes))
    raise LoadFailed(f"{framework} sees no {asked} here; have {', '.join(names) or 'none'}")
