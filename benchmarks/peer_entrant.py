"""One peer in one configuration on one model: its start, its turns, its row."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peer_load import Load, Question, ask, wait_until_ready, wrk
from benchmarks.peer_recipe import Peer
from benchmarks.peer_server import Server

CONNECTIONS = 32
_DRAIN_S = 0.2


@dataclass(slots=True)
class Turn:
    """What one round measured."""

    many: Load
    one: Load
    cpu_us: float
    rss_mib: float

    @property
    def rate(self) -> float | None:
        """Requests/s, or nothing where a request failed: failing fast is not throughput."""
        return None if self.many.errors else self.many.requests / self.many.seconds


@dataclass(slots=True)
class Entrant:
    """One peer in one configuration on one model, and what became of it."""

    peer: Peer
    configuration: str
    model: str
    server: Server | None = None
    start_s: float | None = None
    failed: str = ""
    turns: list[Turn] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """What its configuration sets for this model."""
        return self.peer.configurations[self.configuration].settings(self.model)

    def start(self, question: Question, model: Path, work: Path) -> None:
        """Start, check, and hold it still."""
        began = time.monotonic()
        self.server = Server(self.peer, self.settings, model, work)
        wait_until_ready(self.server, question)
        self.start_s = time.monotonic() - began
        wrk(self.server, question, CONNECTIONS, self.peer.warm_up_s)
        self._rest(question)

    def take_turn(self, question: Question, seconds: int) -> None:
        """One round's measurements."""
        assert self.server is not None
        self.server.thaw()
        ask(self.server, question)
        one = wrk(self.server, question, 1, 1)
        before = self.server.cpu_seconds()
        many = wrk(self.server, question, CONNECTIONS, seconds)
        spent = self.server.cpu_seconds() - before
        self.turns.append(Turn(many, one, 1e6 * spent / max(many.requests, 1), self.server.resident_mib()))
        self._rest(question)

    def _rest(self, question: Question) -> None:
        """Freeze it once wrk's last requests are through.

        To a policy that learns, a batch frozen midway would look slow.
        """
        assert self.server is not None
        ask(self.server, question)
        time.sleep(_DRAIN_S)
        self.server.freeze()

    def stop(self) -> None:
        """End its processes, if there are any."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def row(self, ours: "Entrant | None") -> dict[str, Any]:
        """Medians over the rounds; ``ratio`` is to ``ours``, round by round."""
        head = {"model": self.model, "peer": self.peer.name, "config": self.configuration}
        note = {"note": self.failed} if self.failed else {}
        if not self.turns:
            return head | note
        pairs = zip(self.turns, ours.turns if ours else (), strict=False)
        return head | {
            "req/s": _median([turn.rate for turn in self.turns]),
            "ratio": _median([a.rate / b.rate for a, b in pairs if a.rate and b.rate]),
            "p50 ms": _median([turn.many.p50_us / 1e3 for turn in self.turns]),
            "p99 ms": _median([turn.many.p99_us / 1e3 for turn in self.turns]),
            "p50 ms, 1 conn": _median([turn.one.p50_us / 1e3 for turn in self.turns]),
            "CPU µs/req": _median([turn.cpu_us for turn in self.turns]),
            "RSS MiB": _median([turn.rss_mib for turn in self.turns]),
            "start s": self.start_s,
            "non-2xx": sum(turn.many.non_2xx + turn.one.non_2xx for turn in self.turns),
            "broken": sum(turn.many.socket_errors + turn.one.socket_errors for turn in self.turns),
        } | note  # fmt: skip

    def record(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with all that is needed to repeat it."""
        return row | {
            "rounds": [turn.rate for turn in self.turns],
            "why": self.peer.configurations[self.configuration].why,
            "settings": self.settings,
            "requires": [one for group in self.peer.requires for one in group],
        }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None
