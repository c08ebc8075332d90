"""What each payer is charged: the machine's price and energy shared out by the time that it was busy. Pure.

Marginal rates are those of the last ten minutes, so that a run that takes longer than one entry of the
books is charged like any other, and are what replies are quoted.
A core-second costs what the machine costs for each core-second that it has.
Its energy is its part of what the machine takes idle, and its part of what it takes beyond that for all that
keeps it busy, of which what is charged may be the smaller part.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from penstock.core.account import Account, Payer
from penstock.metering.charges import Span, Took, Used, both
from penstock.metering.energy.probe import KWH, Joules
from penstock.metering.tariff import Rates, Tariff

HORIZON = 600.0
"""Seconds over which marginal rates are taken."""
LOOK = 1.0
"""Seconds that the least power must last: counters move in steps, and in a shorter entry may not move."""


class Resource(Struct, frozen=True, kw_only=True):
    """The processors, or the GPUs, over one span: this server's share of them."""

    capacity: float = 0.0
    """Core- or GPU-seconds that there were."""
    money: float | None = None
    joules: Joules | None = None
    idle_watts: float | None = None
    """What they take with nothing to do; None: the least that was seen."""
    active: float | None = None
    """Seconds in which they were busy, whoever with; None: with what was charged alone."""


class Seen(Struct, frozen=True, kw_only=True):
    """One span as it was observed."""

    start: float
    """Seconds since the epoch."""
    seconds: float
    used: Sequence[tuple[Payer, Account]]
    cpu: Resource
    gpu: Resource = Resource()
    currency: str = ""
    methods: frozenset[str] = frozenset()
    grams: float | None = None
    """CO2-equivalents of a kWh."""
    embodied: float | None = None
    """Grams a second."""


class Past(Struct, frozen=True):
    """One resource in one span, as the next rates need it."""

    seconds: float
    capacity: float
    busy: float
    """Charged."""
    active: float
    """Charged or not."""
    money: float | None
    joules: Joules | None

    def __add__(self, other: "Past") -> "Past":
        """Both, one after the other, where the same is known of them."""
        return Past(
            self.seconds + other.seconds,
            self.capacity + other.capacity,
            self.busy + other.busy,
            self.active + other.active,
            both(self.money, other.money),
            both(self.joules, other.joules),
        )

    def alike(self, other: "Past") -> bool:
        """Whether the same is known of both."""
        same_money = (self.money is None) == (other.money is None)
        return same_money and (self.joules is None) == (other.joules is None)


class Memory(Struct, frozen=True, kw_only=True):
    """What is remembered of a resource."""

    past: tuple[Past, ...] = ()
    least_watts: float | None = None
    extra: float = 0.0
    """Of the last rate, what a busy second took beyond idle, joules."""


class Memories(Struct, frozen=True):
    """Of both resources."""

    cpu: Memory = Memory()
    gpu: Memory = Memory()


class Rate(Struct, frozen=True):
    """For one busy second of one core or GPU."""

    money: float | None
    joules: Joules | None


def charge(seen: Seen, memories: Memories) -> tuple[Span, Tariff, Memories]:
    """The entry in the books, the rates that hold now (full ones are left open), and what to remember."""
    seen = _told(seen)
    cpu_busy = sum(account.cpu for _, account in seen.used)
    gpu_busy = sum(account.gpu for _, account in seen.used)
    cpu, cpu_memory = _rate(seen.cpu, seen.seconds, cpu_busy, memories.cpu)
    gpu, gpu_memory = _rate(seen.gpu, seen.seconds, gpu_busy, memories.gpu)
    used = tuple(_used(payer, account, cpu, gpu) for payer, account in seen.used)
    span = Span(seen.start, _took(seen, cpu_busy, gpu_busy), used)
    rates = Rates(cpu_money=cpu.money, gpu_money=gpu.money, cpu_joules=cpu.joules, gpu_joules=gpu.joules)
    tariff = Tariff(
        marginal=rates,
        currency=seen.currency,
        method="+".join(sorted(seen.methods)),
        grams=None if seen.grams is None else seen.grams / KWH,
    )
    return span, tariff, Memories(cpu_memory, gpu_memory)


def full(took: Took) -> Rates:
    """What a busy second costs with its part of what was idle, over the time that ``took`` covers.

    What a resource costs that nobody used is borne by those who used the other one.
    """
    cpu_money, gpu_money = _borne(took.cpu_money, took.gpu_money, took.cpu_busy, took.gpu_busy)
    cpu_low, gpu_low = _of(took, "low")
    cpu_mid, gpu_mid = _of(took, "mid")
    cpu_high, gpu_high = _of(took, "high")
    return Rates(
        cpu_money=cpu_money,
        gpu_money=gpu_money,
        cpu_joules=_joules(cpu_low, cpu_mid, cpu_high),
        gpu_joules=_joules(gpu_low, gpu_mid, gpu_high),
    )


def _told(seen: Seen) -> Seen:
    """Without its energy where a part of the machine is silent: the other part's would pass for all."""
    parts = seen.cpu, seen.gpu
    if all(part.joules is not None or not part.capacity for part in parts):
        return seen
    cpu, gpu = (replace(part, joules=None) for part in parts)
    return replace(seen, cpu=cpu, gpu=gpu, methods=frozenset())


def _rate(resource: Resource, seconds: float, busy: float, memory: Memory) -> tuple[Rate, Memory]:
    active = max(busy, resource.active or 0.0)
    now = Past(seconds, resource.capacity, busy, active, resource.money, resource.joules)
    past = _recent(_joined(memory.past, now))
    watts = _least(past, memory.least_watts)
    capacity, spent = sum(each.capacity for each in past), sum(each.busy for each in past)
    # More threads than cores: together they cannot have had more than there was.
    fit = min(1.0, capacity / spent) if spent else 1.0
    idle = watts if resource.idle_watts is None else resource.idle_watts
    energy, extra = _energy(past, idle, fit, memory.extra)
    return Rate(_money(past, fit), energy), Memory(past=past, least_watts=watts, extra=extra)


def _joined(past: tuple[Past, ...], now: Past) -> tuple[Past, ...]:
    """Short entries grow into one, so that whoever asks for many bills makes no long memory."""
    if past and past[-1].seconds < LOOK and past[-1].alike(now):
        return (*past[:-1], past[-1] + now)
    return (*past, now)


def _recent(past: tuple[Past, ...]) -> tuple[Past, ...]:
    seconds = 0.0
    for at in range(len(past) - 1, -1, -1):
        seconds += past[at].seconds
        if seconds >= HORIZON:
            return past[at:]
    return past


def _least(past: Sequence[Past], before: float | None) -> float | None:
    """The least power so far, looking back over at least ``LOOK`` seconds."""
    seconds = joules = 0.0
    for each in reversed(past):
        if each.joules is None:
            break
        seconds += each.seconds
        joules += each.joules.mid
        if seconds >= LOOK:
            return joules / seconds if before is None else min(before, joules / seconds)
    return before


def _money(past: Sequence[Past], fit: float) -> float | None:
    last = next((each for each in reversed(past) if each.capacity), None)
    return None if last is None or last.money is None else last.money / last.capacity * fit


def _energy(
    past: Sequence[Past], idle: float | None, fit: float, before: float
) -> tuple[Joules | None, float]:
    """For one busy second, and what of it is beyond idle; as before where nothing was busy.

    Only times count whose energy is known.
    """
    told = [(each, each.joules) for each in past if each.joules is not None]
    capacity, spent = sum(each.capacity for each, _ in told), sum(each.active for each, _ in told)
    total = sum((joules for _, joules in told), Joules())
    if past[-1].joules is None or not capacity or not total.mid:
        return None, before
    base = min(total.mid, (idle or 0.0) * sum(each.seconds for each, _ in told))
    extra = (total.mid - base) / spent if spent else before
    one = base / capacity * fit + extra
    return total * (one / total.mid), extra


def _used(payer: Payer, account: Account, cpu: Rate, gpu: Rate) -> Used:
    return Used(
        payer,
        account,
        None if cpu.money is None else cpu.money * account.cpu,
        None if gpu.money is None else gpu.money * account.gpu,
        None if cpu.joules is None else cpu.joules * account.cpu,
        None if gpu.joules is None else gpu.joules * account.gpu,
    )


def _took(seen: Seen, cpu_busy: float, gpu_busy: float) -> Took:
    cpu, gpu = seen.cpu, seen.gpu
    told = [part.joules for part in (cpu, gpu) if part.joules is not None]
    took = Took(
        seconds=seen.seconds,
        cpu_capacity=cpu.capacity,
        gpu_capacity=gpu.capacity,
        cpu_busy=cpu_busy,
        gpu_busy=gpu_busy,
        cpu_money=cpu.money,
        gpu_money=gpu.money,
        currency=seen.currency,
        priced=0.0 if cpu.money is None else seen.seconds,
        cpu_joules=cpu.joules,
        gpu_joules=gpu.joules,
        metered=seen.seconds if told else 0.0,
        embodied=None if seen.embodied is None else seen.embodied * seen.seconds,
        methods=seen.methods,
    )
    if seen.grams is None or not told:
        return took
    return replace(took, grams=sum(joules.mid for joules in told) / KWH * seen.grams)


def _of(took: Took, bound: str) -> tuple[float | None, float | None]:
    cpu, gpu = (None if j is None else getattr(j, bound) for j in (took.cpu_joules, took.gpu_joules))
    return _borne(cpu, gpu, took.cpu_busy, took.gpu_busy)


def _borne(
    cpu: float | None, gpu: float | None, cpu_busy: float, gpu_busy: float
) -> tuple[float | None, float | None]:
    """What the processors and the GPUs cost, for each busy second of theirs; None where there was none."""
    whole = (cpu or 0.0) + (gpu or 0.0)
    if gpu and cpu_busy and not gpu_busy:
        return whole / cpu_busy, None
    if cpu and gpu_busy and not cpu_busy:
        return None, whole / gpu_busy
    return (
        cpu / cpu_busy if cpu is not None and cpu_busy else None,
        gpu / gpu_busy if gpu is not None and gpu_busy else None,
    )


def _joules(low: float | None, mid: float | None, high: float | None) -> Joules | None:
    return None if low is None or mid is None or high is None else Joules(low, mid, high)
