"""Rollbacks on a loaded server: how fast a version is gone, and what clients see of it."""

from benchmarks.rollout_false import Row


def served(quick: bool) -> tuple[list[Row], list[Row]]:
    """Seconds from the verdict to the last request on the bad version; failed requests of many rollbacks."""
    raise SystemExit("the real server is not measured yet; leave --real out")
