"""The terms of a rollout, from what users type and from what JSON says, over those of model.toml. Pure."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import isfinite
from typing import Any, NoReturn

import msgspec

from penstock.core.errors import BadSetting
from penstock.core.schema import convert, nearest
from penstock.core.spans import duration
from penstock.core.spec import Rollout
from penstock.rollout.compare import COMPARISONS
from penstock.rollout.words import GUARDS, HARD

PLANS = ("canary", "blue-green", "shadow", "ab", "aa")
STICKY = ("id", "tenant", "header:NAME", "parameter:NAME")
PART = "answers"
"""The guard whose margin is a part of the answers; that of the others is a ratio, new over old."""
OFF = ("off", "false", "no")
ON = ("on", "true", "yes")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A header's name (RFC 9110, 5.6.2)."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def typed(
    *,
    plan: str = "",
    steps: str = "",
    guards: Iterable[str] = (),
    hold: str = "",
    patience: str = "",
    **others: Any,
) -> dict[str, Any]:
    """Values for ``terms`` from the texts of options; those that are empty or None are left out.

    ``steps`` are percents by commas, ``guards`` are ``NAME=MARGIN`` or ``NAME=off``, ``hold`` and
    ``patience`` spans of time.
    ``others`` go by the names of ``[rollout]``.
    Raises BadSetting.
    """
    values: dict[str, Any] = {
        "plan": plan,
        "steps": percents(steps) if steps else None,
        "guards": dict(guard(each) for each in guards) or None,
        "hold_s": duration(hold, "--hold") if hold else None,
        "patience_s": duration(patience, "--patience") if patience else None,
        **others,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def percents(text: str) -> list[float]:
    """Of ``1,5,25,100``, with or without percent signs. Raises BadSetting."""
    try:
        return [float(part.strip().removesuffix("%")) for part in text.split(",")]
    except ValueError:
        raise BadSetting(f"steps {text!r} are no percents; write e.g. 1,5,25,100") from None


def guard(text: str) -> tuple[str, float | bool]:
    """Name and margin of ``p99=1.2`` or ``cost=off``. Raises BadSetting."""
    name, _, value = (part.strip() for part in text.partition("="))
    _known(name)
    if value.lower() in OFF + ON:
        return name, value.lower() in ON
    try:
        return name, float(value)
    except ValueError:
        example = "0.02" if name == PART else "1.2"
        raise BadSetting(f"guard {text!r}: write {name}={example}, or {name}=off") from None


def terms(values: Mapping[str, Any], base: Rollout = Rollout()) -> Rollout:  # noqa: B008 - frozen
    """``values``, by the names of ``[rollout]``, over ``base``; whole and checked.

    Without a plan it is a canary.
    Another plan than that of ``base`` does not take its steps, and guards are laid over guard by guard.
    Raises BadSetting.
    """
    if values.get("plan", "canary") not in PLANS:
        _wrong("plan", values["plan"], nearest(str(values["plan"]), list(PLANS)))
    under: dict[str, Any] = msgspec.to_builtins(base)
    if values.get("plan") and values["plan"] != (base.plan or "canary"):
        under.pop("steps", None)
    whole = {"plan": "canary"} | under | {name: value for name, value in values.items() if value is not None}
    if isinstance(values.get("guards"), Mapping):
        whole["guards"] = {**base.guards, **values["guards"]}
    return check(convert(whole, Rollout, "rollout"))


def check(terms: Rollout) -> Rollout:
    """The same terms; raises BadSetting, saying what would be right, where they make no plan."""
    _check_steps(terms)
    _check_sticky(terms.sticky)
    for name, margin in terms.guards.items():
        _check_guard(name, margin)
    if terms.compare not in COMPARISONS and not _FUNCTION.fullmatch(terms.compare):
        near = nearest(terms.compare, list(COMPARISONS))
        _wrong("compare", terms.compare, f"name a function as 'module:function', or {near}")
    if terms.mirror == 0 and terms.plan in ("shadow", "blue-green"):
        _wrong("mirror", 0, f"a {terms.plan} rollout judges by copies alone; leave it out, or have 0.05")
    if terms.hold_s is not None and terms.hold_s >= terms.patience_s:
        _wrong("hold_s", terms.hold_s, f"it must be less than patience_s ({terms.patience_s:g} s)")
    if terms.plan in ("shadow", "ab") and terms.inconclusive == "promote":
        _wrong("inconclusive", "promote", f"{terms.plan} never promotes by itself; have hold, rollback")
    return terms


def _check_steps(terms: Rollout) -> None:
    steps = terms.steps
    said = ",".join(f"{step:g}" for step in steps)
    if steps and terms.plan in ("blue-green", "shadow"):
        _wrong("steps", said, f"{terms.plan} takes none; a plan with steps is canary")
    if len(steps) > 1 and terms.plan in ("ab", "aa"):
        _wrong("steps", said, f"{terms.plan} takes one, the new version's percent, e.g. 50")
    if not all(0 < step <= 100 for step in steps):
        _wrong("steps", said, "each must be over 0 and at most 100 percent")
    if any(later <= step for step, later in pairwise(steps)):
        rising = ",".join(f"{step:g}" for step in sorted(set(steps)))
        _wrong("steps", said, f"they must rise: {rising}")
    if terms.plan in ("ab", "aa") and steps == (100,):
        _wrong("steps", said, f"{terms.plan} needs both versions; have less than 100")


def _check_sticky(sticky: str) -> None:
    kind, colon, name = sticky.partition(":")
    if kind == "header" and colon and _TOKEN.fullmatch(name):
        return
    if kind == "parameter" and colon and name:
        return
    if sticky not in ("", "id", "tenant"):
        _wrong("sticky", sticky, nearest(sticky, list(STICKY)))


def _check_guard(name: str, margin: float | bool) -> None:
    _known(name)
    if isinstance(margin, bool):
        return
    if name == PART and not 0 < margin < 1:
        _wrong(f"guards.{name}", margin, "it is a part of the answers; have e.g. 0.02, or off")
    if name != PART and not (isfinite(margin) and margin > 1):
        _wrong(f"guards.{name}", margin, "it is new over old and must be over 1; have e.g. 1.2, or off")


def _known(name: str) -> None:
    if name in HARD:
        raise BadSetting(f"guard {name!r} acts at once and has no margin; have {', '.join(GUARDS)}")
    if name not in GUARDS:
        raise BadSetting(f"no guard {name!r}; {nearest(name, list(GUARDS))}")


def _wrong(setting: str, value: object, right: str) -> NoReturn:
    raise BadSetting(f"rollout: {setting} cannot be {value!r}; {right}")
