"""What a rollout is, in the words that the door, the command line, the page and the state database share."""

from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.spec import Rollout as Terms

Kind: TypeAlias = Literal["canary", "blue-green", "shadow", "ab", "aa"]
"""``aa``: a version against itself, to try the guards; it is ``promoted`` where none of them alarms."""
Phase: TypeAlias = Literal["loading", "running", "paused", "promoted", "rolled-back"]
"""``loading``: the candidate is not up yet; the last two are ends."""

Verdict: TypeAlias = Literal["pass", "fail", "not yet", "off"]
"""``off``: this guard cannot say anything here, and ``why`` tells the reason."""

GUARDS = ("errors", "timeouts", "p50", "p95", "p99", "cost", "energy", "answers", "outputs", "accuracy")
"""Guards by evidence, in the order in which they are shown.

``errors``, ``timeouts``: ratios of rates; ``p50`` …: ratios of latencies; ``cost``, ``energy``: ratios of
means for each query; ``answers``: how often answers differ on the same input; ``outputs``: how answers
are distributed; ``accuracy``: ratio of wrong answers by feedback.
"""
HARD = ("crash", "non-finite", "load", "health")
"""Guards that act at once, without statistics."""


class Guard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One guard as it stands."""

    name: str
    verdict: Verdict
    why: str = ""
    """One sentence: what is lacking, or what it found."""
    effect: float | None = None
    """New over old: a ratio; of ``answers`` the part of answers that differ beyond the control."""
    low: float | None = None
    """Of the effect, as is ``high``: an interval that holds at 95 % whenever one looks."""
    high: float | None = None
    alarm: float | None = None
    """It fails once the effect is proven to be over this."""
    target: float | None = None
    """It passes this stage once the effect is proven to be under this; None: it need not."""
    seen: int = 0
    """Requests (pairs, labels) of the new version that it has judged by."""
    events: int = 0
    """Errors, slow requests, differing answers … of both versions."""
    against: float = 0.0
    """Evidence for an alarm as a part of what an alarm takes, on a logarithmic scale; 1 is an alarm."""
    for_: float = 0.0
    """Evidence for a pass, likewise."""
    needs: int | None = None
    """More requests of the new version until it passes, if things go on like this; None: not known."""
    needs_s: float | None = None
    """The same in seconds at today's traffic."""


class Stage(Struct, frozen=True, omit_defaults=True):
    """One step of a plan."""

    weight: float
    """Percent of the requests that name no version; 0: none, copies alone."""
    began: float | None = None
    """Seconds since the epoch, as is ``ended``."""
    ended: float | None = None


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rollout as it stands."""

    id: str
    model: str
    stable: str
    """The version that answers until the candidate is proven."""
    candidate: str
    kind: Kind
    phase: Phase
    stage: int = 0
    """The present one, in ``stages``."""
    stages: tuple[Stage, ...] = ()
    weight: float = 0.0
    """Percent of the requests that go to the candidate now."""
    began: float = 0.0
    """Seconds since the epoch, as is ``ended``."""
    ended: float | None = None
    by: str = ""
    """Who began it."""
    says: str = ""
    """One sentence: what it waits for, or how it ended and why."""
    guards: tuple[Guard, ...] = ()
    answered_stable: int = 0
    """Requests that the stable version answered in this rollout."""
    answered_candidate: int = 0
    saved: int = 0
    """Requests that failed on the candidate, and that the stable version answered."""
    mirrored: int = 0
    """Requests of which copies ran on both versions."""
    rate: float = 0.0
    """Requests a second, of the last minute."""
    sticky: str = ""
    baseline: bool = False
    terms: Terms = Terms()


class Change(Struct, frozen=True, omit_defaults=True):
    """One line of the audit log."""

    at: float
    """Seconds since the epoch."""
    model: str
    id: str
    """Of the rollout."""
    by: str
    """A key's tenant, ``admin``, ``model.toml``, ``guard p99`` …"""
    what: str
    """``start``, ``stage``, ``pause``, ``resume``, ``promote``, ``rollback``, ``retry`` …"""
    why: str = ""


class Bad(Struct, frozen=True, omit_defaults=True):
    """A version that was taken back, and is not rolled out again by itself."""

    model: str
    version: str
    at: float
    why: str
    fingerprint: str = ""
    """Of its files: others under the same name are another version."""


class Pin(Struct, frozen=True):
    """The version of a model that answers requests which name none, as the last rollout left it."""

    model: str
    version: str
    policy: str = ""
    """What the model's settings said of versions then: other words overrule it."""
    over: tuple[str, ...] = ()
    """The versions that were there then: later ones overrule it where they come in without a rollout."""
