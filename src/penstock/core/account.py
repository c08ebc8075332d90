"""What one payer's requests have used: numbers that only grow, until the meter takes them."""

from typing import NamedTuple

from msgspec import Struct


class Payer(NamedTuple):
    """Whom a request is charged to: what was asked for, and by whom.

    A pipeline's steps are charged to the pipeline, which is what was asked for.
    """

    model: str
    version: str
    tenant: str


class Account(Struct):
    """Sums over requests; written on the event loop alone."""

    queries: int = 0
    """Answered with a result."""
    rows: int = 0
    """Run for them, by whichever model; a pipeline's count at every step."""
    queued: float = 0.0
    """Seconds in queues."""
    cpu: float = 0.0
    """Core-seconds: run seconds of the batch, by the part of its rows, by the threads that it ran on."""
    gpu: float = 0.0
    """GPU-seconds, likewise."""
    received: int = 0
    """Bytes of request bodies as they came over the wire."""
    sent: int = 0
    """Bytes of answers' bodies."""

    def copy(self) -> "Account":
        return Account(self.queries, self.rows, self.queued, self.cpu, self.gpu, self.received, self.sent)

    def take(self) -> "Account":
        """What is in it, and leave it empty."""
        taken = self.copy()
        self.queries = self.rows = self.received = self.sent = 0
        self.queued = self.cpu = self.gpu = 0.0
        return taken

    def add(self, other: "Account") -> None:
        """The sums of both."""
        self.queries += other.queries
        self.rows += other.rows
        self.queued += other.queued
        self.cpu += other.cpu
        self.gpu += other.gpu
        self.received += other.received
        self.sent += other.sent

    @property
    def empty(self) -> bool:
        return not (self.queries or self.rows or self.received or self.sent)
