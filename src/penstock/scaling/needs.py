"""What one instance of a version takes: cores while it runs, and memory."""

from penstock.core.ports import Session

LEAST = 0.05
"""Cores below which an instance is taken to need this much: it waits for others most of the time."""
ENOUGH = 1.0
"""Seconds of runs after which their processor time says something."""


class Needs:
    """Of one version; ``cores`` are measured where instances are processes, else the threads of each."""

    def __init__(self) -> None:
        self._cpu: dict[int, float] = {}
        self._used = 0.0
        self._ran = 0.0
        self._seen: float | None = None

    def look(self, sessions: list[Session], ran: float) -> None:
        """``ran``: seconds of all batches so far, over all instances."""
        now = {id(each): float(each.cpu()) for each in sessions if hasattr(each, "cpu")}
        # A process that was started again begins anew.
        self._used += sum(max(0.0, cpu - self._cpu.get(one, cpu)) for one, cpu in now.items())
        if now and self._seen is not None:  # what ran before the first look was used before, too
            self._ran += max(0.0, ran - self._seen)
        self._cpu, self._seen = now, ran
        if self._ran > 60 * ENOUGH:  # what was long ago counts less
            self._used /= 2
            self._ran /= 2

    def cores(self, sessions: list[Session]) -> float:
        """Cores of this machine that one more instance keeps busy while it runs; 0 for another device."""
        first = sessions[0]
        if getattr(first, "elsewhere", False) or not getattr(first, "device", "cpu").startswith("cpu"):
            return 0.0
        threads = float(max(1, first.threads))
        if self._ran < ENOUGH:
            return threads
        return min(threads, max(LEAST, self._used / self._ran))

    @staticmethod
    def memory(sessions: list[Session]) -> int:
        """Bytes that one more instance takes; 0 where they share a session, or it is not of this machine."""
        here = (each for each in sessions if not getattr(each, "elsewhere", False))
        return max((int(each.resident()) for each in here if hasattr(each, "resident")), default=0)
