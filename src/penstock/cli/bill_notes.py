"""What is to be said below a bill: what it covers, how its figures are known, and which are not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.cli.bill_scale import GRAMS, JOULES, amount, digits, duration, money
from penstock.metering.energy.probe import KWH

if TYPE_CHECKING:
    from rich.console import Console

Record: TypeAlias = Mapping[str, Any]
Note: TypeAlias = tuple[str, str]
"""A word, and a sentence on it."""

WHOLE = 0.99
"""Of the time that was asked for: above it all of it counts as metered."""
METHODS = {
    "rapl": "counters of the processors (RAPL)",
    "nvml": "counters of the GPUs (NVML)",
    "zeus": "counters that Zeus reads",
    "estimate": "an estimate from the processor's family and its load",
}


def show(notes: Iterable[Note], console: "Console") -> None:
    """One below the other; folded on a terminal only."""
    from rich.markup import escape
    from rich.table import Table

    if not console.is_terminal:
        for word, sentence in notes:
            console.print(f"{word + ':':<8} {sentence}", markup=False, soft_wrap=True)
        return
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True, style="dim")
    shown.add_column(overflow="fold")
    for word, sentence in notes:
        shown.add_row(word, escape(sentence))
    console.print(shown)


def notes(bill: Record) -> Iterator[Note]:
    """All there is to say, in the order of the table's columns."""
    for word, say in SENTENCES.items():
        sentence = say(bill)
        if sentence:
            yield word, sentence
    yield from (("note", sentence) for sentence in bill.get("notes", ()))


def nothing(bill: Record) -> Iterator[Note]:
    """Instead of a table without lines."""
    machine = bill["machine"]
    if not machine["seconds"]:
        yield "window", f"{_span(bill)}: the books hold nothing of it."
        yield "lines", "None; see an earlier time with --since 7d, or whether [meter] keeps a file."
        return
    yield "window", window(bill)
    if bill.get("only"):
        named = " and ".join(f"the {key} {value!r}" for key, value in bill["only"].items())
        yield "lines", f"None of {named}; leave that out to see whose there are."
        return
    yield "lines", "None: nobody was answered in this time."
    took = [
        f"{verb} {amount(machine[field], units)}"
        for verb, field, units in (
            ("cost", "cost", money(bill.get("currency", ""))),
            ("took", "energy_j", JOULES),
        )
        if field in machine
    ]
    if took:
        yield "idle", f"Meanwhile the machine {' and '.join(took)}."


def window(bill: Record) -> str:
    """The time asked for, and how much of it was really metered."""
    asked, sites = bill["until"] - bill["since"], bill.get("sites", [])
    seconds = bill["machine"]["seconds"] / max(len(sites), 1)
    many = f" at each of {len(sites)} sites ({', '.join(sites)})" if len(sites) > 1 else ""
    if seconds >= asked * WHOLE:
        return f"{_span(bill)}, metered throughout{many}."
    mean = " on average" if many else ""
    return f"{_span(bill)}, of which {duration(seconds)} were metered{mean}{many}."


def _span(bill: Record) -> str:
    return f"{duration(bill['until'] - bill['since'])} to {clock(bill['until'])}"


def clock(at: float) -> str:
    """Local time, with the name of its zone."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M %Z}"


def cost(bill: Record) -> str:
    """What full and marginal mean here, or which part of the whole some lines are."""
    whole = bill["machine"].get("cost")
    idle = bill.get("idle", {}).get("cost_marginal")
    if whole is None or idle is None:
        return ""
    if bill.get("only"):
        all_ = amount(whole, money(bill.get("currency", "")))
        return f"Of the {all_} that the machine cost, {_percent(bill['total'].get('cost', 0.0), whole)}."
    idle = max(0.0, idle)  # a run that began before this time may have used more than the time has
    return (
        f"In full: {_percent(idle, whole)} of the money went on idle time, which those bear who used the "
        "machine; marginal is their busy time alone."
    )


def price(bill: Record) -> str:
    """For an hour of a machine, and who says so."""
    machine = bill["machine"]
    hours = machine["seconds"] * bill.get("priced", 0.0) / 3600
    if "cost" not in machine or not hours:
        return ""
    many = " of a machine, on average" if len(bill.get("sites", ())) > 1 else ""
    source = f" ({bill['price_source']})" if "price_source" in bill else ""
    return f"{digits(machine['cost'] / hours)} {bill.get('currency', '')} an hour{many}{source}."


def energy(bill: Record) -> str:
    """What the machine took, the band in which that lies, and how it is known."""
    machine = bill["machine"]
    joules = machine.get("energy_j")
    if joules is None:
        return 'Not known; probe = "auto" in [energy] reads counters where there are any, and else estimates.'
    seconds = machine["seconds"] * bill.get("metered", 0.0)
    watts = f" ({digits(joules / seconds)} W on average)" if seconds else ""
    low, high = (amount(machine[f"energy_{bound}_j"], JOULES) for bound in ("low", "high"))
    band = f", between {low} and {high}" if low != high else ""
    said = " and ".join(METHODS.get(method, method) for method in bill.get("energy_methods", ()))
    return f"{amount(joules, JOULES)}{watts}{band}; by {said}."


def carbon(bill: Record) -> str:
    """What that energy emitted, and what making the machine did."""
    machine = bill["machine"]
    grams, joules, made = (machine.get(key) for key in ("carbon_g", "energy_j", "embodied_g"))
    if grams is None:
        return 'Not known; country = "DE", or intensity, in [carbon] says what a kWh emits.' if joules else ""
    rate = f" at {digits(grams / joules * KWH)} g a kWh" if joules else ""
    making = f", and {amount(made, GRAMS)} for making the machine" if made is not None else ""
    return f"{amount(grams, GRAMS)} CO2e for the energy{rate}{making}."


def tenant(bill: Record) -> str:
    """How to have tenants, where there are none."""
    if "tenant" not in bill["by"] or any(line["tenant"] for line in bill["lines"]):
        return ""
    return (
        "No request named one; give API keys a tenant under [keys], or name a header with tenant_header "
        "in [meter]."
    )


SENTENCES: Mapping[str, Callable[[Record], str]] = {
    "window": window,
    "cost": cost,
    "price": price,
    "energy": energy,
    "carbon": carbon,
    "tenant": tenant,
}
"""By the word that leads them; an empty one is left out."""


def _percent(part: float, whole: float) -> str:
    """Nearly all is not all, and nearly nothing not nothing."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 1 or 99 < percent < 100:
        return "under 1 %" if percent < 1 else "over 99 %"
    return f"{percent:.0f} %"
