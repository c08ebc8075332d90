"""Rollouts that are kept in a dict: the port without traffic, clocks or statistics."""

from collections.abc import Sequence

from msgspec.structs import replace

from penstock.core.errors import InvalidRequest, NotFound, UnknownModel, UnknownVersion
from penstock.core.spec import Rollout
from penstock.rollout.port import Label, Taken, Verb
from penstock.rollout.words import Bad, Change, Guard, Stage, Status

NOW = 1_763_942_400.0
"""2025-11-24 00:00 UTC."""

GUARDS = (
    Guard(
        name="errors", verdict="not yet", why="too few errors so far", effect=1.08, low=0.71, high=1.62,
        alarm=1.25, target=2.0, seen=1_240, events=31, against=0.12, for_=0.64, needs=1_240, needs_s=1_200.0,
    ),
    Guard(
        name="p99", verdict="pass", effect=1.012, low=0.97, high=1.055, alarm=1.1, target=1.2,
        seen=1_240, events=148, against=0.03, for_=1.0,
    ),
    Guard(
        name="answers", verdict="not yet", why="one answer in 600 differs", effect=0.0017, low=0.0001,
        high=0.0062, alarm=0.01, target=0.01, seen=600, events=1, against=0.0, for_=0.41, needs=880,
    ),
    Guard(name="cost", verdict="off", why="no price is set"),
    Guard(name="energy", verdict="off", why="no price is set"),
)  # fmt: skip
RUNNING = Status(
    id="r-7",
    model="digits",
    stable="2",
    candidate="3",
    kind="canary",
    phase="running",
    stage=1,
    stages=(Stage(1, NOW - 1_500, NOW - 900), Stage(5, NOW - 900), Stage(25), Stage(100)),
    weight=5,
    began=NOW - 1_500,
    by="team-a",
    says="waits for errors and answers: some 1,240 more requests, 20 min at today's traffic",
    guards=GUARDS,
    answered_stable=23_560,
    answered_candidate=1_240,
    saved=3,
    mirrored=600,
    rate=15.5,
    sticky="header:X-User",
    terms=Rollout(plan="canary", steps=(1, 5, 25, 100)),
)
"""A canary in its second stage."""
ENDS = {"promote": "promoted", "rollback": "rolled-back"}


class MemoryRollouts:
    """Of the models ``digits`` (versions 1 to 9) and ``plain``, which has never had one."""

    def __init__(self, *statuses: Status) -> None:
        self.statuses = list(statuses)
        self.changes: list[Change] = []
        self.marked: list[Bad] = []
        self.labels: list[Label] = []
        self.base = Rollout()
        self.started: list[tuple[str, str, Rollout, str, str, bool]] = []

    def list(self) -> Sequence[Status]:
        return self.statuses

    def get(self, model: str) -> Status:
        self.terms(model)
        for status in self.statuses:
            if status.model == model:
                return status
        raise NotFound(f"{model} has had no rollout; `penstock rollout start {model} VERSION` begins one")

    def terms(self, model: str) -> Rollout:
        if model not in ("digits", "plain"):
            raise UnknownModel(f"no model {model!r}; have digits, plain")
        return self.base

    async def start(
        self, model: str, version: str, terms: Rollout, by: str, why: str = "", force: bool = False
    ) -> Status:
        self.terms(model)
        if not "1" <= version <= "9":
            raise UnknownVersion(f"{model} has no version {version!r}")
        if any(each.version == version for each in self.marked) and not force:
            raise InvalidRequest(f"version {version} is marked bad; --force brings it in all the same")
        self.started.append((model, version, terms, by, why, force))
        self.changes.insert(0, Change(NOW, model, "r-8", by, "start", why))
        begun = replace(RUNNING, id="r-8", model=model, candidate=version, by=by, terms=terms, guards=())
        self.statuses.insert(0, begun)
        return begun

    async def command(self, model: str, verb: Verb, by: str, why: str = "") -> Status:
        status = self.get(model)
        if status.phase in ENDS.values():
            raise InvalidRequest(f"the rollout of {model} has ended: it was {status.phase}")
        phase = ENDS.get(verb, "paused" if verb == "pause" else "running")
        ended = NOW if verb in ENDS else None
        changed = replace(status, phase=phase, ended=ended, says=f"{verb} by {by}")
        self.statuses[self.statuses.index(status)] = changed
        self.changes.insert(0, Change(NOW, model, status.id, by, verb, why))
        return changed

    async def history(self, model: str, limit: int = 100) -> Sequence[Change]:
        if model:
            self.terms(model)
        return [each for each in self.changes if model in ("", each.model)][:limit]

    def bad(self, model: str) -> Sequence[Bad]:
        return [each for each in self.marked if model in ("", each.model)]

    async def feedback(self, labels: Sequence[Label], tenant: str = "") -> Taken:
        self.labels += labels
        known = sum(not label.id.startswith("?") for label in labels)
        return Taken(known, len(labels) - known)
