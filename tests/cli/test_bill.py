"""``penstock bill``."""

import csv
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from penstock.cli import bill_notes
from penstock.cli.bill import show
from penstock.cli.bill_scale import JOULES, amount, column, digits, duration, money, unit
from penstock.cli.bill_table import bar
from penstock.doors.bill_form import document
from penstock.metering.bill import By, bill
from penstock.metering.books.store import Books
from penstock.metering.charges import Span
from penstock.metering.entry import Entry
from tests.cli.command import run
from tests.cli.v2_server import V2Server, ok
from tests.doors import bills

WHO: tuple[By, ...] = ("model", "version", "tenant")
FULL = (
    "cost:    In full: 70 % of the money went on idle time, which those bear who used the machine; "
    "marginal is their busy time alone."
)
ENERGY = (
    "energy:  240 Wh (10.0 W on average), between 192 Wh and 336 Wh; by an estimate from the "
    "processor's family and its load."
)
SOURCE = "aws:c5.xlarge in the catalogue of 2026-10"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def made(entries: list[Entry], by: tuple[By, ...] = WHO, only: dict[By, str] | None = None) -> dict[str, Any]:
    return document(bill(entries, by, bills.SINCE, bills.UNTIL, only), SOURCE)


def text(made: dict[str, Any], width: int, terminal: bool = False) -> list[str]:
    console = Console(width=width, highlight=False, no_color=True, force_terminal=terminal)
    with console.capture() as captured:
        show(made, console)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_80_columns_show_cost_and_energy_of_each_line() -> None:
    assert text(made([bills.entry()]), 80)[:8] == [
        "model          version  tenant    queries    cost  marginal  per 1,000  energy",
        "                                              USD       USD        USD      Wh",
        "resnet50       12       shop       88,020   4.849     1.440     0.0551   142.6",
        "digits-linear  3        shop    1,204,331   3.259     0.968    0.00271    95.9",
        "digits-linear  3        (none)     18,210   0.051     0.015    0.00280     1.5",
        "resnet50       11       =lab            3  <0.001    <0.001     0.0596    <0.1",
        "",
        "idle                                                  5.736",
    ]


def test_140_columns_show_time_carbon_and_shares_too() -> None:
    lines = text(made([bills.entry()]), 140)
    assert lines[0].split("  ")[-1] == "share"
    assert lines[2] == (
        "resnet50       12       shop       88,020   61,000   4.849     1.440     0.0551   142.6"
        "       1.62  49.92      0.567  ██████████  59 %"
    )
    assert lines[8].split() == [
        "total",
        "1,310,564",
        "345,600",
        "8.160",
        "8.160",
        "0.00623",
        "240.0",
        "0.183",
        "84.00",
        "0.0641",
    ]


def test_below_it_stands_how_each_figure_is_known() -> None:
    lines = text(made([bills.entry()]), 80)
    assert lines[10:15] == [
        "window:  24 h to 2025-11-24 00:00 UTC, metered throughout.",
        FULL,
        f"price:   0.340 USD an hour ({SOURCE}).",
        ENERGY,
        "carbon:  84.0 g CO2e for the energy at 350 g a kWh.",
    ]


def test_a_terminal_folds_sentences_and_a_pipe_does_not() -> None:
    whole = made([bills.entry()])
    assert max(map(len, text(whole, 80))) > 80
    folded = text(whole, 80, terminal=True)
    assert "which those bear who used" in " ".join(folded)
    assert "\x1b[2m" in "".join(folded)
    assert "\x1b" not in "".join(text(whole, 80))


@pytest.mark.parametrize("width", [52, 60, 72, 80, 100, 120, 140, 200])
@pytest.mark.parametrize("entry", [bills.entry(), bills.unpriced()])
def test_the_table_fits_however_narrow_the_terminal(entry: Entry, width: int) -> None:
    lines = text(made([entry]), width)
    assert max(map(len, lines[: lines.index("")])) <= width
    assert [line.split()[0] for line in lines[2:6]] == ["resnet50", *["digits-linear"] * 2, "resnet50"]


def test_what_has_no_price_shows_time_and_shares_and_how_to_give_one() -> None:
    lines = text(made([bills.unpriced()]), 80)
    assert lines[0].split() == ["model", "version", "tenant", "queries", "time", "share"]
    assert lines[7].split() == ["idle", "242,957"]
    assert any("[price]" in line for line in lines)
    assert any(line.startswith('energy:  Not known; probe = "auto" in [energy]') for line in lines)
    assert not any(line.startswith(("cost", "price", "carbon")) for line in lines)


def test_energy_without_carbon_comes_with_how_to_weigh_it() -> None:
    found = bill_notes.carbon(made([bills.entry(grams=None)]))
    assert found == 'Not known; country = "DE", or intensity, in [carbon] says what a kWh emits.'


def test_lines_of_one_model_are_told_as_a_part_of_the_whole() -> None:
    lines = text(made([bills.entry()], only={"model": "resnet50"}), 80)
    assert not any(line.startswith("idle") for line in lines)
    assert lines[5].split() == ["total", "88,023", "61,002", "4.850", "1.440", "0.0551", "142.6"]
    assert "cost:    Of the 8.16 USD that the machine cost, 59 %." in lines


def test_by_nothing_it_is_one_line() -> None:
    assert text(made([bills.entry()], by=()), 80)[2].split()[:2] == ["all", "1,310,564"]


def test_tenants_that_nobody_named_come_with_how_to_name_them() -> None:
    entry = bills.entry()
    nameless = Entry(entry.start, entry.end, entry.site, entry.took, entry.used[1:2])
    assert any(line.startswith("tenant:  No request named one") for line in text(made([nameless]), 80))
    assert not any(line.startswith("tenant:") for line in text(made([entry]), 80))


def test_a_time_that_is_metered_in_part_says_so() -> None:
    shown = document(bill([bills.entry()], WHO, bills.SINCE - bills.DAY, bills.UNTIL))
    assert bill_notes.window(shown) == "2 d to 2025-11-24 00:00 UTC, of which 24 h were metered."


def test_several_sites_are_named() -> None:
    here = bills.entry()
    there = Entry(here.start, here.end, "edge", here.took, here.used)
    shown = made([here, there], by=("site", "model"))
    metered = "24 h to 2025-11-24 00:00 UTC, metered throughout at each of 2 sites (edge, local)."
    assert bill_notes.window(shown) == metered
    assert bill_notes.price(shown) == f"0.340 USD an hour of a machine, on average ({SOURCE})."


def test_making_the_machine_counts_with_what_its_energy_emitted() -> None:
    shown = made([bills.entry(embodied=21.0)])
    assert (
        bill_notes.carbon(shown)
        == "84.0 g CO2e for the energy at 350 g a kWh, and 21.0 g for making the machine."
    )
    assert text(shown, 140)[8].split()[-2:] == ["105.0", "0.0801"]


def test_gpu_time_has_a_column_where_there_is_a_gpu() -> None:
    lines = text(made([bills.entry(gpu_capacity=bills.DAY)]), 140)
    assert lines[1].split()[:2] == ["core-s", "GPU-s"]
    assert lines[7].split()[:3] == ["idle", "242,957", "86,400"]


def test_nobody_asked_for_anything() -> None:
    assert text(made([bills.idle()]), 80) == [
        "window:  24 h to 2025-11-24 00:00 UTC, metered throughout.",
        "lines:   None: nobody was answered in this time.",
        "idle:    Meanwhile the machine cost 8.16 USD and took 240 Wh.",
    ]


def test_empty_books_say_where_to_look() -> None:
    assert text(made([]), 80) == [
        "window:  24 h to 2025-11-24 00:00 UTC: the books hold nothing of it.",
        "lines:   None; see an earlier time with --since 7d, or whether [meter] keeps a file.",
    ]


def test_a_name_that_is_not_there_says_so() -> None:
    shown = text(made([bills.entry()], only={"model": "resnet", "tenant": ""}), 80)[1]
    assert shown.startswith("lines:   None of the model 'resnet' and the tenant ''; leave that out")


def test_a_column_has_the_same_decimals_and_nothing_becomes_nought() -> None:
    assert column([12.404, 0.05, 0.0001, None, 0.0]) == ["12.40", "0.05", "<0.01", "–", "0.00"]
    assert column([1234567.0, 4.0]) == ["1,234,567", "4"]
    assert column([1500.0], fewest=2) == ["1,500.00"]
    assert column([0.0, None]) == ["0", "–"]
    assert column([-1e-17, 5.0]) == ["0.000", "5.000"]


def test_small_lines_can_be_told_apart_beside_much_idle_time() -> None:
    assert column([0.261, 0.0523, 755.6, 755.9], lines=2) == ["0.261", "0.052", "755.600", "755.900"]
    assert column([1e-5, 755.6], lines=1) == ["<0.0001", "755.6000"]


def test_nearly_all_is_not_all() -> None:
    shown = made([bills.entry()])
    found = []
    for idle in (8.16, 8.159, 4.08, 0.001, 0.0, -8.16):
        shown["idle"]["cost_marginal"] = idle
        found.append(bill_notes.cost(shown).removeprefix("In full: ").split(" of ")[0])
    assert found == ["100 %", "over 99 %", "50 %", "under 1 %", "0 %", "0 %"]


def test_single_amounts_have_three_digits_and_no_exponent() -> None:
    assert [digits(x) for x in (0.0, 0.0000123, 0.5, 12.345, 12345.6)] == [
        "0",
        "0.0000123",
        "0.500",
        "12.3",
        "12,346",
    ]


def test_a_column_takes_the_unit_of_its_largest_amount() -> None:
    found = [unit([x, None, 0.0], JOULES)[1] for x in (0.0, 2e-6, 0.5, 3599.0, 3600.0, 9e6, 9e9)]
    assert found == ["J", "µJ", "J", "J", "Wh", "kWh", "MWh"]
    assert [unit([x], money("EUR"))[1] for x in (0.5, 0.0011, 0.0009)] == ["EUR", "EUR", "µEUR"]
    assert amount(-5400.0, JOULES) == "-1.50 Wh"


def test_durations_have_two_units() -> None:
    found = [duration(x) for x in (0, 59.6, 90, 86_280, 86_400, 172_800, 266_000)]
    assert found == ["0 s", "1 min", "1 min 30 s", "23 h 58 min", "24 h", "2 d", "3 d 1 h"]


def test_bars_are_drawn_to_an_eighth() -> None:
    assert [bar(x, 0.8) for x in (0.8, 0.4, 0.41, 0.001, 0.0)] == ["█" * 10, "█" * 5, "█████▏", "", ""]
    assert bar(0.0, 0.0) == ""


def test_json_is_the_servers_and_csv_has_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    whole = made([bills.entry()])
    with V2Server(
        routes={"/penstock/bill?by=model%2Cversion%2Ctenant&since=7d&tenant=": ok(whole)}
    ) as server:
        asked = ("bill", "--url", server.url, "--by", "model,version,tenant", "--since", "7d", "--tenant", "")
        assert run(*asked, "--json") == 0
        assert json.loads(capsys.readouterr().out) == whole
        assert run(*asked, "--csv") == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert run(*asked) == 0
        assert "resnet50" in capsys.readouterr().out
    assert [float(row["cost_USD"]) for row in rows] == [line["cost"] for line in whole["lines"]]
    assert [row["cpu_core_s"] for row in rows] == [str(line["cpu_s"]) for line in whole["lines"]]


def test_json_and_csv_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bill", "--json", "--csv") == 2
    assert "only one of them" in capsys.readouterr().err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    entry = bills.entry()
    books = Books.open(tmp_path / "books.db", "here")
    books.write([Span(entry.start, entry.took, entry.used)])
    books.close()
    return tmp_path / "books.db"


def test_a_file_is_read_without_a_server(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("bill", "--file", str(file), "--since", "2025-11-23", "--until", "2025-11-24", "--json")
    before = file.read_bytes()
    assert run(*asked, "--by", "site,model", "--tenant", "shop") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(line["site"], line["model"], line["queries"]) for line in found["lines"]] == [
        ("here", "resnet50", 88_020),
        ("here", "digits-linear", 1_204_331),
    ]
    assert found["machine"]["cost"] == pytest.approx(bills.PRICE * 24)
    assert file.read_bytes() == before


def test_a_file_is_read_while_a_server_has_it_open(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    books = Books.open(file, "here")
    try:
        entry = bills.entry()
        books.write([Span(entry.start, entry.took, entry.used)])
        assert run("bill", "--file", str(file), "--since", "2025-11-23", "--by", "", "--json") == 0
    finally:
        books.close()
    assert json.loads(capsys.readouterr().out)["total"]["queries"] == 2 * 1_310_564


def test_a_file_that_holds_no_books_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no database, " * 100)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE other (x)")
    other.close()
    for name, sentence in (
        ("none", "--file: no file"),
        ("text", "cannot be read as the books of a server"),
        ("other", "is a database of another program"),
    ):
        assert run("bill", "--file", str(tmp_path / name)) == 2
        assert sentence in capsys.readouterr().err


def test_a_question_to_a_file_is_checked_as_a_server_does(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bill", "--file", str(file), "--by", "modle") == 2
    assert run("bill", "--file", str(file), "--since", "last week") == 2
    shown = capsys.readouterr().err
    assert "no bill by 'modle'" in shown
    assert "no time 'last week'" in shown
