"""A rollout's course as it begins: its stages, margins and hold by its terms and the traffic; pure."""

from collections.abc import Mapping

from msgspec import Struct

from penstock.core.spec import Rollout, Signature, TensorSpec
from penstock.core.types import ModelState
from penstock.rollout.course import Course
from penstock.rollout.evidence.margins import defaults
from penstock.rollout.words import GUARDS, Kind, Stage


class Wanted(Struct, frozen=True):
    """A rollout that is to begin."""

    model: str
    stable: str
    """The version that answers."""
    version: str
    terms: Rollout
    by: str
    why: str = ""


COSTS = ("cost", "energy")


def costs(weight: float, terms: Rollout) -> bool:
    """Whether cost can be compared at so many percent.

    A small share makes small batches, each query of which costs more, whatever the version; not so with
    equal shares, with copies alone, and beside a baseline.
    """
    return terms.baseline or weight in (0, 50)


def _needless(weight: float, terms: Rollout) -> tuple[str, ...]:
    """Guards that need not pass at so many percent: costs that cannot be told, and feedback unasked for.

    A version against itself need pass none.
    """
    if terms.plan == "aa":
        return GUARDS
    costless = () if costs(weight, terms) else COSTS
    return costless if "accuracy" in terms.guards and weight else (*costless, "accuracy")


def begin(key: str, wanted: Wanted, rate: float, now: float, prints: tuple[str, str] = ("", "")) -> Course:
    """At ``rate`` requests a second.

    ``key`` is its id, ``now`` seconds since the epoch; ``prints``: of the files of both versions.
    """
    terms = wanted.terms
    kind: Kind = terms.plan or "canary"
    plan = defaults(kind, rate, terms)
    alike = kind == "aa" or terms.mirror == 0
    alarms = {name: alarm for name, alarm in plan.alarms.items() if name != "answers" or not alike}
    return Course(
        id=key,
        model=wanted.model,
        stable=wanted.stable,
        candidate=wanted.version,
        kind=kind,
        terms=terms,
        by=wanted.by,
        began=now,
        why=wanted.why,
        stages=tuple(Stage(weight) for weight in plan.steps),
        targets=tuple(
            {**targets, **dict.fromkeys(_needless(weight, terms))}
            for weight, targets in zip(plan.steps, plan.targets, strict=True)
        ),
        alarms=alarms,
        hold=plan.hold_s,
        prints=prints,
    )


def differs(old: ModelState, new: ModelState) -> str:
    """Why callers of the old version could not be answered by the new one; empty where they can."""
    return (
        _inputs(old.signature, new.signature, new.version)
        or _outputs(old.signature, new.signature, new.version)
    )  # fmt: skip


def _inputs(old: Signature, new: Signature, version: str) -> str:
    had, has = _named(old.inputs), _named(new.inputs)
    for name in has.keys() - had.keys():
        return f"version {version} wants input {name!r}, which callers do not send"
    for name, spec in had.items():
        if name not in has:
            return f"version {version} has no input {name!r}, which callers send"
        if not _takes(has[name], spec):
            return f"input {name!r} of version {version} is {_show(has[name])}; callers send {_show(spec)}"
    return ""


def _outputs(old: Signature, new: Signature, version: str) -> str:
    has = _named(new.outputs)
    for spec in old.outputs:
        if spec.name not in has:
            return f"version {version} has no output {spec.name!r}, which callers read"
        if has[spec.name].datatype != spec.datatype:
            return (
                f"output {spec.name!r} of version {version} is {has[spec.name].datatype}; "
                f"callers read {spec.datatype}"
            )
    return ""


def _named(specs: tuple[TensorSpec, ...]) -> Mapping[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


def _takes(new: TensorSpec, old: TensorSpec) -> bool:
    """Whether all that fits the old one fits the new one."""
    return (
        new.datatype == old.datatype
        and len(new.shape) == len(old.shape)
        and all(size in (-1, before) for size, before in zip(new.shape, old.shape, strict=True))
    )


def _show(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
