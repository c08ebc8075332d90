"""When a process that ended is started again, and when its model is given a rest: pure."""

FIRST = 0.5
"""Seconds before the second start in a row; the first comes at once."""
FACTOR = 4.0
LONGEST = 60.0
QUARANTINE = 3
"""Ends in a row, without a batch answered in between, after which an instance rests."""


def delay(ends: int) -> float:
    """Seconds to wait before the start that follows so many ends in a row: 0, 0.5, 2, 8, 32, 60 …"""
    # The exponent is bounded, or a model that crashes for days overflows the float.
    return 0.0 if ends <= 1 else min(LONGEST, FIRST * FACTOR ** min(ends - 2, 32))


def resting(ends: int) -> bool:
    """Whether that many ends in a row say that the next start will hardly be better."""
    return ends >= QUARANTINE
