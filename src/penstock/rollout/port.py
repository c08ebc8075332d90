"""The seam between rollouts and those who speak to them: doors, the command line and the page."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from penstock.core.spec import Rollout, Scalar
from penstock.rollout.words import Bad, Change, Status

Verb: TypeAlias = Literal["pause", "resume", "promote", "rollback"]
VERBS: tuple[Verb, ...] = ("pause", "resume", "promote", "rollback")
Outcome: TypeAlias = Scalar | tuple[Scalar, ...]
"""What came true: a class, a number, a text, or several of them."""
MOST_LABELS = 10_000
"""In one ``feedback``."""


class Label(Struct, frozen=True, omit_defaults=True):
    """What came true of one request: its ``outcome``, or whether the answer was ``correct``; one of both."""

    id: str
    """Of the request."""
    model: str = ""
    """Empty: whichever model was asked under this id."""
    outcome: Outcome | None = None
    correct: bool | None = None


class Taken(Struct, frozen=True):
    """What became of labels."""

    counted: int
    unknown: int
    """Of requests that no rollout remembers: none ran, it is too long ago, or the label came before."""


class Rollouts(Protocol):
    """All of one server's rollouts.

    Called on the event loop.
    Everything raises UnknownModel for a model that there is not.
    """

    def list(self) -> Sequence[Status]:
        """Those that run, then those that have ended, the newest first; at most 100."""
        ...

    def get(self, model: str) -> Status:
        """The present one, else the last one; raises NotFound where there was none."""
        ...

    def terms(self, model: str) -> Rollout:
        """What the model's ``[rollout]`` says."""
        ...

    async def start(
        self, model: str, version: str, terms: Rollout, by: str, why: str = "", force: bool = False
    ) -> Status:
        """Begin one; ``terms`` are whole and checked, and ``force`` brings in a version marked bad.

        Raises a PenstockError where the version is unknown or marked bad, where its signature differs,
        and where a rollout of the model runs.
        """
        ...

    async def command(self, model: str, verb: Verb, by: str, why: str = "") -> Status:
        """Change the one that runs; raises a PenstockError where there is none, or it cannot."""
        ...

    async def history(self, model: str, limit: int = 100) -> Sequence[Change]:
        """The audit log, the newest line first; an empty ``model`` means all of them."""
        ...

    def bad(self, model: str) -> Sequence[Bad]:
        """Versions that were taken back, the newest first; an empty ``model`` means those of all."""
        ...

    async def feedback(self, labels: Sequence[Label], tenant: str = "") -> Taken:
        """Count labels for the versions that answered this tenant's requests."""
        ...
