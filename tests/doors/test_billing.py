"""The bill over HTTP, as JSON and as CSV."""

import asyncio
import csv
import io
from collections.abc import Mapping

import httpx
import pytest

from penstock.doors.admin import make_app
from penstock.doors.bill_form import as_csv, document
from penstock.doors.billing import routes
from penstock.metering.bill import Bill, bill
from tests.doors import bills
from tests.doors.house import TwoModels

NOW = bills.UNTIL
UNKNOWN = {"currency", "energy_methods", "price_source", "only"}


def ask(query: str = "", books=bills.daily) -> httpx.Response:
    async def asked() -> httpx.Response:
        extra = routes(books, lambda: "per_hour in [price]", lambda: NOW)
        transport = httpx.ASGITransport(make_app(TwoModels(), lambda accept: (b"", ""), extra))
        async with httpx.AsyncClient(transport=transport, base_url="http://penstock") as client:
            return await client.get(f"/penstock/bill{query}")

    return asyncio.run(asked())


def record(line: Mapping[str, object], *names: str) -> list[object]:
    return [line.get(name) for name in names]


def made(entries: list, by=("model", "version", "tenant"), only=None) -> Bill:
    return bill(entries, by, bills.SINCE, bills.UNTIL, only)


def test_without_words_it_is_by_model_and_version_over_the_last_day():
    found = ask().json()
    assert [found["since"], found["until"]] == [bills.SINCE, NOW]
    assert found["by"] == ["model", "version"]
    keys = [(line["model"], line["version"]) for line in found["lines"]]
    assert keys == [("resnet50", "12"), ("digits-linear", "3"), ("resnet50", "11")]


def test_lines_and_idle_time_are_what_the_machine_cost():
    found = ask("?by=model,tenant").json()
    machine = found["machine"]
    for figure in ("cost", "energy_j", "energy_low_j", "energy_high_j", "carbon_g"):
        assert machine[figure] == pytest.approx(sum(line[figure] for line in found["lines"]))
        assert machine[figure] == pytest.approx(found["total"][figure])
    for figure in ("cost", "energy"):
        whole, unit = ("cost", "") if figure == "cost" else ("energy", "_j")
        marginal = [line[f"{whole}_marginal{unit}"] for line in found["lines"]]
        assert machine[f"{whole}{unit}"] == pytest.approx(
            sum(marginal) + found["idle"][f"{whole}_marginal{unit}"]
        )


def test_a_line_has_use_cost_energy_and_what_1000_queries_take():
    line = ask("?by=model&model=digits-linear").json()["lines"][0]
    queries, cpu = 1_222_541, 41_640.5
    assert ["digits-linear", queries, cpu] == record(line, "model", "queries", "cpu_s")
    assert line["cost_marginal"] == pytest.approx(cpu * bills.PRICE / 4 / 3600)
    assert line["cost_per_1000"] == pytest.approx(line["cost"] * 1000 / queries)
    assert line["energy_marginal_j"] == pytest.approx(2 * cpu)
    assert line["energy_low_j"] < line["energy_j"] < line["energy_high_j"]
    assert line["sci_g_per_1000"] == pytest.approx(line["carbon_g"] * 1000 / queries)


def test_it_says_where_price_and_energy_come_from():
    found = ask().json()
    known = ["USD", "per_hour in [price]", ["estimate"], 1.0, 1.0, ["local"]]
    names = ("currency", "price_source", "energy_methods", "priced", "metered", "sites")
    assert known == record(found, *names)


def test_lines_of_others_are_left_out():
    found = ask("?by=version&tenant=shop&model=resnet50").json()
    assert found["only"] == {"model": "resnet50", "tenant": "shop"}
    assert [line["version"] for line in found["lines"]] == ["12"]
    assert found["total"]["cost"] < found["machine"]["cost"]


def test_an_empty_tenant_is_who_names_none():
    assert [line["queries"] for line in ask("?by=tenant&tenant=").json()["lines"]] == [18_210]


def test_what_is_not_known_is_not_there_and_never_nought():
    found = document(made([bills.unpriced()]), "per_hour in [price]")
    assert set() == UNKNOWN & set(found)
    for part in (*found["lines"], found["total"], found["machine"], found.get("idle", {})):
        assert [name for name in part if name.startswith(("cost", "energy", "carbon", "gpu", "sci"))] == []
    assert found["lines"][0]["cpu_s"] == 61_000.25


def test_empty_books_are_a_bill_without_lines():
    found = document(made([]))
    assert (found["lines"], found["machine"]["seconds"]) == ([], 0.0)
    assert "start" not in found


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?by=modle", "no bill by 'modle'"),
        ("?since=yesterday", "no time 'yesterday'; give how long ago (30m, 24h, 7d)"),
        ("?since=2d&until=3d", "no time lies between '2d' and '3d'; have the earlier one first"),
        ("?untill=1h", "no parameter 'untill'; did you mean 'until'?"),
        ("?format=cvs", "format: cannot be 'cvs'; did you mean 'csv'?"),
    ],
)
def test_a_bad_question_is_400_and_says_what_would_be_right(query, sentence):
    answer = ask(query)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_times_and_keys_reach_the_books_as_asked():
    seen = []

    async def books(by, since, until, only):
        seen.append((by, since, until, only))
        return bill([], by, since, until, only)

    ask("?by=tenant,site&since=2025-11-23&until=1h&site=here&version=2", books)
    assert seen == [(("tenant", "site"), bills.SINCE, NOW - 3600, {"version": "2", "site": "here"})]


def test_csv_has_the_same_figures_with_units_in_their_names():
    answer = ask("?by=model,tenant&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    lines = ask("?by=model,tenant").json()["lines"]
    units = {
        "model": "model",
        "queries": "queries",
        "cpu_s": "cpu_core_s",
        "cost": "cost_USD",
        "cost_marginal_per_1000": "cost_marginal_per_1000_USD",
        "energy_j": "energy_j",
    }
    for name, column in units.items():
        assert [str(line[name]) for line in lines] == [row[column] for row in rows]
    assert "gpu_s" not in rows[0]


def test_csv_leaves_a_cell_empty_where_a_line_knows_nothing():
    whole = document(made([bills.entry()]))
    del whole["lines"][1]["cost"]
    rows = list(csv.DictReader(io.StringIO(as_csv(whole))))
    assert [rows[1]["cost_USD"], rows[2]["tenant"]] == ["", ""]


def test_a_name_that_a_caller_gave_is_no_formula_in_csv():
    rows = list(csv.DictReader(io.StringIO(as_csv(document(made([bills.entry()]))))))
    assert "'=lab" in [row["tenant"] for row in rows]


def test_no_cache_keeps_a_bill():
    assert [ask(query).headers["cache-control"] for query in ("", "?format=csv")] == ["no-store", "no-store"]
