"""How one guard's evidence stands, before it is put into words."""

from math import inf

from msgspec import Struct


class Stand(Struct, frozen=True, kw_only=True):
    failed: bool = False
    passed: bool = False
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seen: int = 0
    """Requests (pairs, labels) of the candidate."""
    events: int = 0
    against: float = 0.0
    for_: float = 0.0
    needs: float = inf
    """More of what ``seen`` counts until it passes; inf: not known, or never."""
    silent: str = ""
    """Why it cannot say anything here."""
    beside: str = ""
    """What else is to be said."""
