"""The bill: the books close, however it is cut."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.account import Account, Payer
from penstock.core.errors import InvalidRequest
from penstock.metering.amount import Amount
from penstock.metering.bill import KEYS, Bill, bill, keys
from penstock.metering.charges import Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.entry import Entry
from penstock.metering.spread import Rest

HOUR = 3600.0
A, B, C = Payer("digits", "1", "shop"), Payer("digits", "2", "shop"), Payer("words", "1", "")


def machine(**more) -> Took:
    told = {
        "seconds": HOUR,
        "cpu_capacity": 2 * HOUR,
        "cpu_money": 0.1,
        "currency": "USD",
        "priced": HOUR,
        "cpu_joules": Joules(20_000.0, 36_000.0, 50_000.0),
        "metered": HOUR,
        "grams": 4.0,
        "embodied": 1.0,
        "methods": frozenset({"estimate"}),
    }
    return Took(**(told | more))


def used(payer: Payer, cpu: float, gpu: float = 0.0, money: float | None = 0.1, queries: int = 100) -> Used:
    """At the marginal price of the machine above: ``money`` for all of it, 2 hours of core time."""
    part = cpu / (2 * HOUR)
    return Used(
        payer,
        Account(queries, queries, 0.5, cpu, gpu, 10, 20),
        None if money is None else money * part,
        None,
        Joules(20_000.0, 36_000.0, 50_000.0) * part,
    )


def entry(took: Took, *users: Used, site: str = "local", start: float = 0.0) -> Entry:
    return Entry(start, start + HOUR, site, took, users)


def one(got: Bill, *values: str):
    return next(line for line in got.lines if tuple(line.keys.values()) == values)


def test_idle_time_is_borne_in_proportion_to_use():
    got = bill([entry(machine(), used(A, 900), used(C, 300, queries=10))], ["model"], 0, HOUR)
    digits, words = got.lines
    assert digits.keys == {"model": "digits"}
    assert digits.marginal.money == pytest.approx(0.1 * 900 / 7200)
    assert digits.full.money == pytest.approx(0.075)
    assert words.full.money == pytest.approx(0.025)
    assert digits.full.joules == Joules(15_000.0, 27_000.0, 37_500.0)
    assert digits.full.grams == pytest.approx(3.0)
    assert digits.embodied == pytest.approx(0.75)
    assert digits.full_1000.money == pytest.approx(0.75)
    assert digits.marginal_1000.joules == digits.marginal.joules * 10
    assert digits.sci == pytest.approx(37.5)
    assert words.sci == pytest.approx(125.0)
    assert [line.share for line in got.lines] == pytest.approx([0.75, 0.25])
    assert got.idle.full == Amount()
    assert got.idle.marginal.money == pytest.approx(0.1 * 6000 / 7200)
    assert (got.currency, got.methods, got.priced, got.metered) == ("USD", ("estimate",), 1.0, 1.0)
    assert got.notes == ()


def test_what_nobody_used_is_a_line_of_its_own():
    got = bill([entry(machine())], ["model"], 0, HOUR)
    assert got.lines == ()
    assert got.idle == Rest(marginal=got.machine, full=got.machine, embodied=1.0)


def test_gpus_that_nobody_used_are_borne_by_users_of_processors():
    took = machine(gpu_capacity=HOUR, gpu_money=0.9)
    got = bill([entry(took, used(A, 900), used(C, 300))], ["model"], 0, HOUR)
    assert [line.full.money for line in got.lines] == pytest.approx([0.75, 0.25])


def test_processors_and_gpus_are_spread_apart():
    took = machine(gpu_capacity=HOUR, gpu_money=0.9)
    on_gpu = replace(used(C, 300, gpu=60.0), gpu_money=0.015)
    got = bill([entry(took, used(A, 900), on_gpu)], ["model"], 0, HOUR)
    assert one(got, "words").full.money == pytest.approx(0.025 + 0.9)
    assert one(got, "digits").full.money == pytest.approx(0.075)


def test_what_is_not_known_is_absent_and_never_nothing():
    took = machine(cpu_money=None, currency="", priced=0.0, cpu_joules=None, metered=0.0, grams=None)
    bare = replace(used(A, 900, money=None), cpu_joules=None)
    got = bill([entry(took, bare)], ["model"], 0, HOUR)
    assert got.lines[0].full == got.lines[0].marginal == got.machine == got.idle.marginal == Amount()
    assert got.lines[0].sci is None
    assert got.lines[0].share == 1.0
    assert got.notes == (
        "No price was known; give one with per_hour in [price].",
        "It could not be told what energy was used.",
    )


def test_a_bill_says_where_the_gpus_energy_is_not_in_it():
    gpus = {"gpu_capacity": HOUR, "gpu_money": 0.9}
    untold = machine(cpu_joules=None, metered=0.0, grams=None, **gpus)
    (note,) = bill([entry(untold, used(A, 900))], ["model"], 0, HOUR).notes
    assert note == (
        "It could not be told what energy was used; on a machine with GPUs these must tell theirs too."
    )
    (note,) = bill([entry(machine(grams=None, **gpus), used(A, 900))], ["model"], 0, HOUR).notes
    assert note == "What the GPUs used could not be told and is not in it."


def test_use_while_no_price_was_known_has_no_money():
    early = entry(machine(cpu_money=None, priced=0.0, currency=""), used(A, 900, money=None))
    late = entry(machine(), used(C, 300), start=HOUR)
    got = bill([early, late], ["model"], 0, 2 * HOUR)
    assert one(got, "digits").full.money is None
    assert one(got, "words").full.money == pytest.approx(0.1)
    assert got.priced == 0.5
    assert got.notes == ("A price was known for 50 % of the time, and money is of that time alone.",)


def test_the_price_of_idle_time_is_borne_by_who_used_the_rest():
    early = entry(machine(cpu_money=None, priced=0.0, currency=""), used(A, 900, money=None))
    got = bill([early, entry(machine(), start=HOUR)], ["model"], 0, 2 * HOUR)
    assert got.lines[0].marginal.money is None
    assert got.lines[0].full.money == pytest.approx(0.1)


def test_money_in_several_currencies_is_left_out():
    other = entry(machine(currency="EUR"), used(A, 900), site="edge")
    got = bill([entry(machine(), used(A, 900)), other], ["model"], 0, HOUR)
    assert got.machine.money is None
    assert got.lines[0].full.money is got.lines[0].marginal.money is got.took.cpu_money is None
    assert got.lines[0].full.joules == Joules(40_000.0, 72_000.0, 100_000.0)
    assert got.currency == ""
    assert got.notes == (
        "Money is left out: there are prices in EUR and USD; ask for a time or a site with one of them.",
    )


def test_each_site_bears_its_own_machine():
    idle = entry(machine(cpu_money=5.0), site="edge")
    got = bill([entry(machine(), used(A, 900)), idle], ["site"], 0, HOUR)
    assert one(got, "local").full.money == pytest.approx(0.1)
    assert got.idle.full.money == 5.0
    assert got.sites == ("edge", "local")


def test_some_lines_bear_what_they_bear_among_all():
    whole = bill([entry(machine(), used(A, 900), used(C, 300))], ["model"], 0, HOUR)
    some = bill([entry(machine(), used(A, 900), used(C, 300))], ["model"], 0, HOUR, {"tenant": "shop"})
    assert [line.full for line in some.lines] == [one(whole, "digits").full]
    assert some.total.full == one(whole, "digits").full
    assert some.machine == whole.machine


def test_lines_go_by_money_and_without_a_price_by_use():
    dear = [used(A, 900, money=0.01), used(C, 300)]
    assert [line.keys["model"] for line in bill([entry(machine(), *dear)], ["model"], 0, 1).lines] == [
        "words",
        "digits",
    ]
    free = machine(cpu_money=None, currency="", priced=0.0)
    users = [used(A, 300, money=None), used(C, 900, money=None)]
    assert [line.keys["model"] for line in bill([entry(free, *users)], ["model"], 0, 1).lines] == [
        "words",
        "digits",
    ]


def test_a_bill_by_nothing_is_one_line():
    got = bill([entry(machine(), used(A, 900), used(C, 300))], [], 0, HOUR)
    assert [line.keys for line in got.lines] == [{}]
    assert got.lines[0].full.money == pytest.approx(0.1)


def test_no_entries_make_an_empty_bill_that_says_so():
    got = bill([], ["model"], 0, HOUR)
    assert (got.lines, got.machine, got.priced) == ((), Amount(), 0.0)
    assert got.start is got.end is None
    assert got.notes == ("Nothing was metered in this time.",)


def test_a_bill_says_where_old_entries_reach_beyond_what_was_asked():
    got = bill([entry(machine(), used(A, 900))], ["model"], 1800, HOUR)
    assert (got.start, got.end) == (0.0, HOUR)
    assert got.notes == (
        "Old entries are kept by the hour or day: this is from 1970-01-01 00:00 UTC to 1970-01-01 01:00 UTC.",
    )


def test_keys_are_read_from_a_list():
    assert keys(" model, tenant,model") == ("model", "tenant")
    assert keys("") == ()
    with pytest.raises(InvalidRequest, match=r"no bill by 'user'; have model, version, tenant, site"):
        keys("model,user")


# -- the books close, whatever was used

seconds = st.one_of(st.just(0.0), st.floats(1e-3, 1e5))
money = st.one_of(st.none(), st.floats(1e-6, 1e4))
joules = st.one_of(
    st.none(),
    st.tuples(*[st.floats(1e-3, 1e7)] * 3).map(lambda three: Joules(*sorted(three))),
)
payers = st.builds(Payer, *[st.sampled_from(["a", "b"])] * 3)


@st.composite
def entries(draw):
    """Like the meter makes them: who used something has its price and energy, if there are any."""
    made = []
    for at in range(draw(st.integers(0, 4))):
        prices = draw(st.tuples(money, money, joules, joules))
        users = [
            Used(
                payer,
                Account(draw(st.integers(0, 50)), 1, 0.0, cpu, gpu, 1, 1),
                *(
                    None if rate is None else rate * (use / 1e6)
                    for rate, use in zip(prices, (cpu, gpu, cpu, gpu), strict=True)
                ),
            )
            for payer in draw(st.lists(payers, max_size=4, unique=True))
            for cpu, gpu in [draw(st.tuples(seconds, seconds))]
        ]
        known = any(price is not None for price in prices[2:])
        took = Took(
            seconds=60.0,
            cpu_capacity=120.0,
            cpu_money=prices[0],
            gpu_money=prices[1],
            currency="USD",
            cpu_joules=prices[2],
            gpu_joules=prices[3],
            grams=draw(st.floats(1e-3, 1e3)) if known else None,
            embodied=draw(st.one_of(st.none(), st.floats(1e-3, 1e3))),
        )
        made.append(Entry(60.0 * at, 60.0 * at + 60, draw(st.sampled_from(["x", "y"])), took, tuple(users)))
    return made


def figures(amount: Amount) -> list[float | None]:
    band = amount.joules
    return [amount.money, amount.grams, *([None] * 3 if band is None else [band.low, band.mid, band.high])]


def agree(got: Amount, expected: Amount, scale: Amount) -> bool:
    """Equal but for the last bits of ``scale``."""
    return all(
        (one is None) == (other is None)
        and (one is None or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * abs(whole or 0.0)))
        for one, other, whole in zip(figures(got), figures(expected), figures(scale), strict=True)
    )


ways = st.sampled_from([way for size in range(5) for way in combinations(KEYS, size)])


@given(entries(), ways)
def test_full_bills_and_what_nobody_used_are_the_machine(made, by):
    got = bill(made, by, 0, 1)
    assert agree(sum((line.full for line in got.lines), got.idle.full), got.machine, got.machine)
    embodied = [line.embodied for line in got.lines] + [got.idle.embodied]
    assert math.fsum(each or 0.0 for each in embodied) == pytest.approx(got.embodied or 0.0, rel=1e-9)


@given(entries(), ways)
def test_marginal_bills_and_what_was_idle_are_the_machine(made, by):
    got = bill(made, by, 0, 1)
    assert agree(sum((line.marginal for line in got.lines), got.idle.marginal), got.machine, got.machine)


@given(entries(), ways)
def test_a_coarser_bill_is_the_sum_of_a_finer_one(made, by):
    finest, coarse = bill(made, KEYS, 0, 1), bill(made, by, 0, 1)
    for line in coarse.lines:
        parts = [fine for fine in finest.lines if line.keys.items() <= fine.keys.items()]
        assert agree(sum((fine.full for fine in parts), Amount()), line.full, coarse.machine)
        assert sum(fine.account.queries for fine in parts) == line.account.queries
        assert math.fsum(fine.share for fine in parts) == pytest.approx(line.share)
    assert agree(finest.total.full, coarse.total.full, coarse.machine)


@given(entries(), st.floats(1e-3, 1e3))
def test_who_bears_what_does_not_hang_on_how_much_was_used(made, factor):
    more = [replace(each, used=tuple(scaled(use, factor) for use in each.used)) for each in made]
    before, after = bill(made, KEYS, 0, 1), bill(more, KEYS, 0, 1)
    found = {tuple(line.keys.values()): line.full for line in after.lines}
    for line in before.lines:
        assert agree(found[tuple(line.keys.values())], line.full, before.machine)


def scaled(use: Used, factor: float) -> Used:
    account = use.account.copy()
    account.cpu *= factor
    account.gpu *= factor
    four = (use.cpu_money, use.gpu_money, use.cpu_joules, use.gpu_joules)
    return Used(use.payer, account, *(None if each is None else each * factor for each in four))


@given(entries())
def test_how_finely_the_entries_are_cut_changes_nothing(made):
    halves = [part for each in made for part in (halved(each), halved(each))]
    whole, cut = bill(made, ["model"], 0, 1), bill(halves, ["model"], 0, 1)
    assert agree(whole.machine, cut.machine, whole.machine)
    assert agree(whole.total.full, cut.total.full, whole.machine)


def halved(each: Entry) -> Entry:
    took = each.took
    half = replace(
        took,
        seconds=took.seconds / 2,
        cpu_capacity=took.cpu_capacity / 2,
        **{
            name: None if getattr(took, name) is None else getattr(took, name) * 0.5
            for name in ("cpu_money", "gpu_money", "cpu_joules", "gpu_joules", "grams", "embodied")
        },
    )
    return replace(each, took=half, used=tuple(scaled(use, 0.5) for use in each.used))
