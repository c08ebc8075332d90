"""What the books tell of one site and one time: sums over however many spans lie in it."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.account import Payer
from penstock.metering.charges import NOTHING, Took, Used


class Entry(Struct, frozen=True):
    """The machine and its users between two times; money is in one currency, that of ``took``."""

    start: float
    """Seconds since the epoch, as is ``end``: whole minutes, hours or days."""
    end: float
    site: str
    took: Took
    used: tuple[Used, ...] = ()

    @property
    def priced(self) -> bool:
        """It has money in it."""
        return self.took.cpu_money is not None or self.took.gpu_money is not None


def priceless(entry: Entry) -> Entry:
    """The same without its money."""
    took = replace(entry.took, cpu_money=None, gpu_money=None, currency="", priced=0.0)
    used = tuple(replace(each, cpu_money=None, gpu_money=None) for each in entry.used)
    return replace(entry, took=took, used=used)


def summed(used: Iterable[Used]) -> dict[Payer, Used]:
    """Sums by payer."""
    sums: dict[Payer, Used] = {}
    for each in used:
        before = sums.get(each.payer)
        sums[each.payer] = each if before is None else before + each
    return sums


def joined(entries: Iterable[Entry]) -> dict[str, Entry]:
    """One entry for each site; what is in several currencies must have lost its money before."""
    sites: dict[str, list[Entry]] = {}
    for entry in entries:
        sites.setdefault(entry.site, []).append(entry)
    return {site: _one(parts) for site, parts in sites.items()}


def _one(parts: list[Entry]) -> Entry:
    return Entry(
        min(each.start for each in parts),
        max(each.end for each in parts),
        parts[0].site,
        sum((each.took for each in parts), NOTHING),
        tuple(summed(used for each in parts for used in each.used).values()),
    )
