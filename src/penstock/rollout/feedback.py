"""Which version answered which request, remembered until somebody tells what came true."""

from collections import deque

from msgspec import Struct

from penstock.rollout.answers import Answer

MOST = 100_000
"""Requests."""
LONGEST = 24 * 3600.0
"""Seconds."""
MOST_ID = 200
"""Characters of an id; longer ones would take memory without bounds."""


class Kept(Struct, frozen=True, gc=False):
    """One request that a rollout divided."""

    id: str
    """The request's."""
    model: str
    rollout: str
    """Its id."""
    candidate: bool
    """Whether the version on trial answered."""
    odds: float
    """The chance with which it was to."""
    answer: Answer
    at: float
    """Seconds since the epoch, when it was answered."""
    unit: int = 0
    """Whoever asked, if callers stay on their versions."""
    tenant: str = ""
    """Whose request it was, who alone may tell what came true."""


class Memory:
    """The last requests with ids, of all models; lives on the event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Kept]] = {}
        """By model and the request's id."""
        self._order: deque[Kept] = deque()
        """With those that were taken, or asked again under the same id, until it is their turn to go."""

    def note(
        self,
        id: str,  # noqa: A002 - the request's
        model: str,
        rollout: str,
        candidate: bool,
        odds: float,
        answer: Answer,
        at: float,
        unit: int = 0,
        tenant: str = "",
    ) -> None:
        """Keep a request, in the place of one with the same id.

        One without an id, or with a long one, is not kept.
        """
        if not 0 < len(id) <= MOST_ID:
            return
        kept = Kept(id, model, rollout, candidate, odds, answer, at, unit, tenant)
        of_model = self._kept.get(model)
        if of_model is None:
            of_model = self._kept[model] = {}
        of_model[id] = kept
        order = self._order
        order.append(kept)
        if len(order) > MOST or order[0].at < at - LONGEST:
            self._forget(at)

    def take(self, id: str, model: str = "", now: float = 0.0, tenant: str = "") -> Kept | None:  # noqa: A002
        """The tenant's last request with the id, once: a second label of it is unknown.

        An empty ``model`` means whichever was asked; with ``now`` what is older than a day is not there.
        """
        self._forget(now)
        models = [model] if model else list(self._kept)
        found = [kept for name in models if (kept := self._kept.get(name, {}).get(id)) is not None]
        found = [kept for kept in found if kept.tenant == tenant]
        if not found:
            return None
        last = max(found, key=lambda kept: kept.at)
        self._drop(last)
        return last

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def _forget(self, now: float) -> None:
        order = self._order
        while order and (len(order) > MOST or order[0].at < now - LONGEST):
            self._drop(order.popleft())

    def _drop(self, kept: Kept) -> None:
        of_model = self._kept.get(kept.model)
        if of_model is not None and of_model.get(kept.id) is kept:
            del of_model[kept.id]
            if not of_model:
                del self._kept[kept.model]
