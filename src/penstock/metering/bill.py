"""The bill: what each model, version, tenant or site cost over a time, such that the books close. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.account import Account
from penstock.core.errors import InvalidRequest
from penstock.metering.amount import Amount, of_machine
from penstock.metering.charges import NOTHING, Took, both
from penstock.metering.entry import Entry, joined, priceless
from penstock.metering.notes import notes
from penstock.metering.spread import Charge, Rest, spread

By: TypeAlias = Literal["model", "version", "tenant", "site"]
KEYS: tuple[By, ...] = ("model", "version", "tenant", "site")


class Line(Struct, frozen=True, kw_only=True):
    """One group of the bill."""

    keys: dict[By, str]
    """What the bill was asked by: ``{"model": "digits", "tenant": "shop"}``."""
    account: Account
    marginal: Amount
    """Of the busy time alone."""
    full: Amount
    """With its part of what was idle."""
    embodied: float | None
    """Grams: its part of what making the machine emitted."""
    share: float
    """Of all lines, 0..1: by full money, else by core- and GPU-seconds."""
    marginal_1000: Amount
    """Per 1,000 queries; nothing is known of a line without queries."""
    full_1000: Amount
    sci: float | None
    """Software Carbon Intensity: grams, embodied ones where they are known, per 1,000 queries."""


class Bill(Struct, frozen=True, kw_only=True):
    """Σ full of the lines + idle full = Σ marginal + idle marginal = machine, unless ``only`` some are there.

    Where no price was known at all, say, the machine's money is None, and so is each of the others.
    """

    since: float
    """As asked for, seconds since the epoch; ``until`` is not in it."""
    until: float
    start: float | None
    """What the entries really cover, whole minutes, hours or days; None without any."""
    end: float | None
    by: tuple[By, ...]
    only: dict[By, str]
    """The lines are of these alone; what they bear was found among all."""
    lines: tuple[Line, ...]
    """The dearest first."""
    total: Line
    """Of the lines."""
    idle: Rest
    machine: Amount
    embodied: float | None
    """Grams, of the machine."""
    took: Took
    """The machine by resource: seconds, capacities, busy time."""
    currency: str
    """Empty where no price was known, or several currencies were."""
    methods: tuple[str, ...]
    """How energy was told."""
    priced: float
    """Part of the metered time, 0..1, for which the price was known."""
    metered: float
    """… for which the energy was known."""
    sites: tuple[str, ...]
    notes: tuple[str, ...]
    """What a reader has to know, in sentences."""


class Sums:
    """Of one group, while it grows."""

    def __init__(self) -> None:
        self.account = Account()
        self.marginal = self.full = Amount()
        self.embodied: float | None = None

    def add(self, other: "Charge | Sums") -> None:
        self.account.add(other.account)
        self.marginal += other.marginal
        self.full += other.full
        self.embodied = both(self.embodied, other.embodied)


def keys(text: str) -> tuple[By, ...]:
    """What a bill is asked by, ``model,tenant``; raises InvalidRequest."""
    asked = dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word)
    unknown = [word for word in asked if word not in KEYS]
    if unknown:
        raise InvalidRequest(f"no bill by {unknown[0]!r}; have {', '.join(KEYS)}")
    named: dict[str, By] = {key: key for key in KEYS}
    return tuple(named[word] for word in asked)


def bill(
    entries: Iterable[Entry],
    by: Sequence[By],
    since: float,
    until: float,
    only: Mapping[By, str] | None = None,
) -> Bill:
    """Of all entries given, however finely they are cut; ``by`` empty: one line.

    Money is left out where there are several currencies, with a note.
    """
    entries, only = list(entries), dict(only or {})
    currencies = sorted({entry.took.currency for entry in entries if entry.priced})
    sites = joined(entries if len(currencies) < 2 else [priceless(entry) for entry in entries])
    charged = {site: spread(entry.took, entry.used) for site, entry in sites.items()}
    charges = [(site, charge) for site, (charges, _) in charged.items() for charge in charges]
    lines, total = _lines(charges, by, only)
    took = sum((entry.took for entry in sites.values()), NOTHING)
    return Bill(
        since=since,
        until=until,
        start=min((entry.start for entry in entries), default=None),
        end=max((entry.end for entry in entries), default=None),
        by=tuple(by),
        only=only,
        lines=lines,
        total=total,
        idle=sum((rest for _, rest in charged.values()), Rest()),
        machine=of_machine(took),
        embodied=took.embodied,
        took=took,
        currency=currencies[0] if len(currencies) == 1 else "",
        methods=tuple(sorted(took.methods)),
        priced=_part(took.priced, took.seconds),
        metered=_part(took.metered, took.seconds),
        sites=tuple(sorted(sites)),
        notes=notes(entries, took, currencies, since, until),
    )


def _lines(
    charges: Iterable[tuple[str, Charge]], by: Sequence[By], only: Mapping[By, str]
) -> tuple[tuple[Line, ...], Line]:
    groups: dict[tuple[str, ...], Sums] = {}
    total = Sums()
    for site, charge in charges:
        about = _about(site, charge)
        if all(about[key] == value for key, value in only.items()):
            groups.setdefault(tuple(about[key] for key in by), Sums()).add(charge)
            total.add(charge)
    lines = [_line(dict(zip(by, key, strict=True)), sums, total) for key, sums in groups.items()]
    lines.sort(key=lambda line: (-(line.full.money or 0.0), -_busy(line.account), *line.keys.values()))
    return tuple(lines), _line({}, total, total)


def _about(site: str, charge: Charge) -> dict[By, str]:
    payer = charge.payer
    return {"model": payer.model, "version": payer.version, "tenant": payer.tenant, "site": site}


def _line(about: dict[By, str], sums: Sums, total: Sums) -> Line:
    queries = sums.account.queries
    carbon = None if sums.full.grams is None else sums.full.grams + (sums.embodied or 0.0)
    return Line(
        keys=about,
        account=sums.account,
        marginal=sums.marginal,
        full=sums.full,
        embodied=sums.embodied,
        share=_share(sums, total),
        marginal_1000=sums.marginal * (1000 / queries) if queries else Amount(),
        full_1000=sums.full * (1000 / queries) if queries else Amount(),
        sci=carbon * (1000 / queries) if queries and carbon is not None else None,
    )


def _share(sums: Sums, total: Sums) -> float:
    if total.full.money:
        return (sums.full.money or 0.0) / total.full.money
    return _part(_busy(sums.account), _busy(total.account))


def _busy(account: Account) -> float:
    return account.cpu + account.gpu


def _part(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole else 0.0
