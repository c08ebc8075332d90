"""What a run of a pipeline follows: which value goes into which step, and which come out; pure.

A tensor that is written again is another value, so that each step reads what was there before it.
"""

from collections.abc import Sequence

from msgspec import Struct

from penstock.core.spec import Signature, Step
from penstock.serving.pipeline.condition import Test


class Part(Struct, frozen=True):
    """What a plan must know of a step's model."""

    signature: Signature
    batched: bool
    max_priority: int


class Write(Struct, frozen=True):
    """An output of a step's model becomes a value, over an older one where there is a condition."""

    output: str
    value: int
    over: int = -1


class Node(Struct, frozen=True):
    """One step; values are numbers, of which the pipeline's inputs have the first."""

    step: Step
    max_priority: int
    reads: tuple[tuple[str, int], ...]
    """The model's input, and the value for it."""
    writes: tuple[Write, ...]
    test: Test | None = None
    asks: tuple[tuple[str, int, bool], ...] = ()
    """What the condition names: tensor, value, and whether it has rows."""
    rows: bool = False
    """Whether axis 0 of what the model gives is its rows."""
    by_row: bool = False
    """Whether the condition chooses among the rows of a request, or all of it if one row is chosen."""

    @property
    def needs(self) -> set[int]:
        """Values that must be there before it can begin."""
        over = [write.over for write in self.writes if write.over >= 0]
        return {value for _, value in self.reads} | {value for _, value, _ in self.asks} | {*over}


class Plan(Struct, frozen=True):
    """What a run follows."""

    signature: Signature
    rows: bool
    """Whether axis 0 of all inputs is one and the same row axis."""
    batched: bool
    """Whether it is that of all outputs, too."""
    nodes: tuple[Node, ...]
    values: int
    """How many there are."""
    gives: tuple[tuple[str, int], ...]
    """The pipeline's outputs, and their values."""
    readers: tuple[tuple[int, ...], ...]
    """By value: the nodes that need it."""
    writers: tuple[int, ...]
    """By value: the node that writes it; -1 for inputs."""
    first: tuple[int, ...]
    """Nodes that need the pipeline's inputs alone."""
    missing: tuple[int, ...]
    """By node: how many of the values that it needs are given by others."""

    def wanted(self, outputs: Sequence[str]) -> frozenset[int]:
        """The nodes without which these outputs cannot be given."""
        values = [value for name, value in self.gives if name in outputs]
        return behind(values, self.nodes, self.writers)


def behind(values: Sequence[int], nodes: Sequence[Node], writers: Sequence[int]) -> frozenset[int]:
    """The nodes from which these values come."""
    found: set[int] = set()
    open_ = list(values)
    while open_:
        at = writers[open_.pop()]
        if at >= 0 and at not in found:
            found.add(at)
            open_ += nodes[at].needs
    return frozenset(found)
