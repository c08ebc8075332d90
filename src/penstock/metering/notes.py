"""What the reader of a bill has to know besides its figures, in sentences. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from penstock.metering.charges import Took
from penstock.metering.entry import Entry
from penstock.metering.hour import MINUTE

WHOLE = 0.999
"""Parts above it are not worth a sentence."""


def notes(
    entries: Sequence[Entry], took: Took, currencies: Sequence[str], since: float, until: float
) -> tuple[str, ...]:
    """None where everything is known."""
    if not took.seconds:
        return ("Nothing was metered in this time.",)
    return (*_edges(entries, since, until), *_money(took, currencies), *_energy(took))


def _edges(entries: Sequence[Entry], since: float, until: float) -> Iterator[str]:
    start, end = min(entry.start for entry in entries), max(entry.end for entry in entries)
    if start < since - MINUTE or end > until + MINUTE:
        yield f"Old entries are kept by the hour or day: this is from {_utc(start)} to {_utc(end)}."


def _money(took: Took, currencies: Sequence[str]) -> Iterator[str]:
    part = took.priced / took.seconds
    if len(currencies) > 1:
        named = f"{', '.join(currencies[:-1])} and {currencies[-1]}"
        yield f"Money is left out: there are prices in {named}; ask for a time or a site with one of them."
    elif not part:
        yield "No price was known; give one with per_hour in [price]."
    elif part < WHOLE:
        yield f"A price was known for {_percent(part)} of the time, and money is of that time alone."


def _energy(took: Took) -> Iterator[str]:
    part = took.metered / took.seconds
    if not part:
        gpus = "; on a machine with GPUs these must tell theirs too" if took.gpu_capacity else ""
        yield f"It could not be told what energy was used{gpus}."
        return
    if took.gpu_capacity and took.gpu_joules is None:
        yield "What the GPUs used could not be told and is not in it."
    if part < WHOLE:
        yield f"Energy was told for {_percent(part)} of the time, and joules are of that time alone."
    if took.grams is not None and took.embodied is None:
        yield "What making the machine emitted is not known and not in sci; see embodied_kg in [carbon]."


def _percent(part: float) -> str:
    return "less than 1 %" if part < 0.01 else f"{int(100 * part)} %"


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
