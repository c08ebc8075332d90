"""What is wrapped around a wish for instances: its bounds, and patience before there are fewer."""

PROMPT = 10.0
"""Seconds of start-up up to which half the patience does, since what was given up is soon back."""

Wishes = tuple[tuple[float, int], ...]
"""When so many were wanted; later ones are lower."""


def clamp(wanted: int, least: int, most: int) -> int:
    return max(min(wanted, most), min(least, most))


def held(wishes: Wishes, now: float, wanted: int, hold_s: float) -> tuple[int, Wishes]:
    """The most wanted of late, and the wishes to remember: those that no later one covers."""
    kept = [(at, count) for at, count in wishes if 0 <= now - at < hold_s and count > wanted]
    kept.append((now, wanted))
    return kept[0][1], tuple(kept)


def patience(hold_s: float, startup_s: float) -> float:
    return hold_s / 2 if startup_s <= PROMPT else hold_s
