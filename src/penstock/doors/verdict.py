"""What a rollout found out of one version, in the words that other controllers understand. Pure.

Argo Rollouts reads a field of the JSON; its web provider takes any status but 2xx for an error:
https://argo-rollouts.readthedocs.io/en/stable/analysis/web/

Flagger reads the status of its webhooks: 200 to 202 go on, anything else halts, and the body is logged.
The hook ``rollback`` is the other way round: a success takes the canary back.
The body names no hook, and its ``phase`` may be that of the last run, so the URL says what is asked.
https://docs.flagger.app/usage/webhooks
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.errors import InvalidRequest
from penstock.core.schema import nearest
from penstock.rollout import words
from penstock.rollout.words import Bad, Guard, Status

Word: TypeAlias = Literal["pass", "fail", "not yet"]
Go: TypeAlias = Literal["pass", "not-fail", "fail"]
"""On what the caller goes on: ``pass``, anything but ``fail``, or ``fail`` (as to take something back)."""

VALUES: Mapping[Word, int] = {"pass": 1, "not yet": 0, "fail": -1}
GO: Mapping[Go, Sequence[Word]] = {"pass": ("pass",), "not-fail": ("pass", "not yet"), "fail": ("fail",)}
HALT = 409
"""The status by which the caller is told not to go on."""


class Answer(Struct, frozen=True, kw_only=True):
    """The verdict on one version, and what it rests on."""

    verdict: Word
    value: int
    """1, 0 or -1."""
    model: str
    version: str
    rollout: str
    """Its id; empty where it is none that is known."""
    phase: str
    weight: float
    """Percent of the requests that the version gets now."""
    guards: Mapping[str, words.Verdict]
    says: str


def judge(status: Status, version: str = "", bad: Sequence[Bad] = ()) -> Answer:
    """The verdict on ``version``, the candidate if not given, by a model's present or last rollout.

    A canary and a blue-green rollout pass by being promoted; what never promotes by itself passes once
    every guard that has to has.
    """
    version = version or status.candidate
    if version != status.candidate:
        return _another(status, version, bad)
    word, says = _word(status)
    return Answer(
        verdict=word,
        value=VALUES[word],
        model=status.model,
        version=version,
        rollout=status.id,
        phase=status.phase,
        weight=status.weight,
        guards={guard.name: guard.verdict for guard in status.guards},
        says=says,
    )


def unknown(model: str, version: str, bad: Sequence[Bad] = ()) -> Answer:
    """Where the model has had no rollout that is known: ``not yet``, unless the version is marked bad."""
    known = next((each for each in bad if each.version == version), None)
    word: Word = "fail" if known else "not yet"
    says = f"version {version} was taken back: {known.why}" if known else f"{model} has had no rollout yet"
    return _bare(word, model, version, says)


def goes(word: Word, go: Go) -> int:
    """The HTTP status for who goes on on ``go``."""
    return 200 if word in GO[go] else HALT


def go_of(text: str) -> Go:
    """Raises InvalidRequest for what is none."""
    for go in GO:
        if go == text:
            return go
    raise InvalidRequest(f"go: cannot be {text!r}; {nearest(text, list(GO))}")


def _word(status: Status) -> tuple[Word, str]:
    if status.phase == "rolled-back":
        return "fail", status.says
    failed = [guard for guard in status.guards if guard.verdict == "fail"]
    if status.phase == "promoted":
        return "pass", status.says
    if failed:
        return "fail", _told(failed[0])
    if status.phase != "running" or status.kind in ("canary", "blue-green"):
        return "not yet", status.says
    return ("pass" if _proven(status.guards) else "not yet"), status.says


def _proven(guards: Sequence[Guard]) -> bool:
    """No evidence is no proof."""
    asked = [guard for guard in guards if guard.target is not None and guard.verdict != "off"]
    return bool(asked) and all(guard.verdict == "pass" for guard in asked)


def _told(guard: Guard) -> str:
    return f"{guard.name}: {guard.why}" if guard.why else f"the guard {guard.name} fails"


def _another(status: Status, version: str, bad: Sequence[Bad]) -> Answer:
    """On a version that the rollout is not about."""
    known = next((each for each in bad if each.version == version), None)
    if known:
        return _bare("fail", status.model, version, f"version {version} was taken back: {known.why}")
    if version == status.stable and status.phase != "promoted":
        says = f"version {version} is the one that answers until {status.candidate} is proven"
        return _bare("pass", status.model, version, says)
    last = f"the last rollout of {status.model} was of {status.candidate}, from {status.stable}"
    return _bare("not yet", status.model, version, f"no rollout of version {version} is known; {last}")


def _bare(word: Word, model: str, version: str, says: str) -> Answer:
    return Answer(
        verdict=word,
        value=VALUES[word],
        model=model,
        version=version,
        rollout="",
        phase="",
        weight=0.0,
        guards={},
        says=says,
    )
