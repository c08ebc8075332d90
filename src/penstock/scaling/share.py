"""Who gets how many instances where the machine does not hold all that are wanted; pure."""

from collections.abc import Sequence

from msgspec import Struct


class Claim(Struct, frozen=True, kw_only=True):
    """What one version wants, and what each of its instances takes."""

    name: str
    have: int
    """Instances that are there, or on their way."""
    least: int
    want: int
    cores: float = 1.0
    """Cores that one instance keeps busy while it runs; 0: none of this machine's."""
    bytes: int = 0
    """Memory that one instance more takes; 0: none worth counting."""


def share(claims: Sequence[Claim], cores: float, memory: float) -> dict[str, int]:
    """Instances by name: what each wants, or as much of it as there is.

    Everybody has ``least``, whatever there is.
    Of the rest, whoever has the smallest part of what it wants is next, so that a shortage is shared.
    ``memory``: bytes that may be taken beyond what ``have`` takes; what somebody gives back counts.
    """
    given = {claim.name: min(claim.least, claim.want) for claim in claims}
    cores -= sum(given[claim.name] * claim.cores for claim in claims)
    memory -= sum((given[claim.name] - claim.have) * claim.bytes for claim in claims)
    asking = [claim for claim in claims if given[claim.name] < claim.want]
    while asking:
        claim = min(asking, key=lambda one: (given[one.name] / one.want, one.name))
        # A model that runs for a part of the time takes a part of a core, hence the allowance.
        if claim.cores <= cores + 1e-9 and (claim.bytes <= memory or given[claim.name] < claim.have):
            given[claim.name] += 1
            cores -= claim.cores
            memory -= claim.bytes
            if given[claim.name] < claim.want:
                continue
        asking.remove(claim)
    return given
