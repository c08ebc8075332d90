"""Pages of metrics as one point, and many points as how replicas stand."""

import asyncio
import json
import time
from urllib.parse import parse_qs

import pytest

from penstock.cluster.scaler.exposition import samples
from penstock.cluster.scaler.fetch import client
from penstock.cluster.scaler.point import point as make
from penstock.cluster.scaler.prometheus import Prometheus, grouped
from penstock.cluster.scaler.standing import Arrivals, standing
from penstock.cluster.scaler.trigger import read as read_trigger
from penstock.core.errors import Unavailable
from penstock.scaling.series import Series
from tests.cluster.scaler.replica import T0, answering, metrics, point
from tests.cluster.scaler.test_flow import look


def read(text, model="m"):
    return make(T0, model, samples(text))


def test_a_page_is_one_point():
    found = read(
        metrics(100, late=3, carries=12.5, target=0.05, startup=4, started=77, deadline=2, overloaded=1)
    )
    assert sum(found.asked.values()) == 103
    assert sum(found.missed.values()) == 6
    assert (found.carries, found.target_s, found.startup_s, found.started) == (12.5, 0.05, 4, 77)
    assert found.run_s == pytest.approx(0.002)
    assert found.ready


def test_errors_of_the_caller_are_no_traffic():
    assert sum(read(metrics(100, invalid=50, not_found=9, forbidden=1)).asked.values()) == 100


def test_other_models_do_not_count():
    found = read(metrics(100) + metrics(5000, model="other").split("\n", 1)[1])
    assert sum(found.asked.values()) == 100
    assert not read(metrics(100), model="other").known


def test_names_are_read_as_they_were_written():
    name = 'a "b" \\ c'
    page = metrics(3, model=name.replace("\\", "\\\\").replace('"', '\\"'))
    assert sum(read(page, name).asked.values()) == 3


def test_what_is_no_page_of_metrics_is_an_error():
    with pytest.raises(ValueError, match=r".*"):
        read("penstock_requests_total{model=\n")


def test_replicas_are_ready_or_on_their_way():
    now = standing(
        look(100, silent=["c"], a=point(100, carries=10.0), b=point(100, ready=False), gone=point(3))
    )
    assert (now.ready, now.starting) == (1, 2)
    assert now.carries == 10


def test_what_replicas_say_is_put_together():
    now = standing(
        look(0, a=point(0, carries=10.0, waiting=3.0, startup_s=4.0), b=point(0, carries=20.0, waiting=1.0))
    )
    assert (now.carries, now.waiting, now.startup_s) == (15, 4, 4)


def test_rows_are_told_as_requests():
    page = metrics(100, rows=8, carries=400)
    now = standing(look(0, a=read(page), b=read(page)))
    assert now.carries == 50


def test_start_up_is_what_it_took_from_the_first_sight():
    arrivals = Arrivals()
    arrivals.note(look(0, a=point(0)))
    arrivals.note(look(10, silent=["b"], a=point(10)))
    arrivals.note(look(30, a=point(30), b=point(30, ready=False)))
    assert arrivals.p95() == 0
    arrivals.note(look(52, a=point(52), b=point(52)))
    assert arrivals.p95() == 42


def test_those_that_were_there_first_say_nothing_of_start_up():
    arrivals = Arrivals()
    arrivals.note(look(0, silent=["a"]))
    arrivals.note(look(9, a=point(9)))
    assert arrivals.p95() == 0


def series(name, values, **labels):
    return {"metric": {"__name__": name, "instance": "i", **labels}, "values": values}


def test_history_is_weeks_of_5_minutes_and_two_days_of_10_seconds():
    asked, now = [], int(time.time())

    def page(handler):
        form = {key: value[0] for key, value in parse_qs(handler.form).items()}
        asked.append(form)
        start, end, step = (int(form[name]) for name in ("start", "end", "step"))
        values = [[at, str(step)] for at in range(start, end + 1, step)]
        return json.dumps({"status": "success", "data": {"result": [{"metric": {}, "values": values}]}})

    async def remember(port):
        terms = {
            "model": "m",
            "serverAddress": f"http://127.0.0.1:{port}",
            "most": "2",
            "selector": 'job="x"',
        }
        series = Series()
        async with client() as asking:
            await Prometheus(read_trigger(terms), asking).history(series)
        return series

    with answering(page) as port:
        series = asyncio.run(remember(port))
    assert all((int(each["end"]) - int(each["start"])) // int(each["step"]) < 11_000 for each in asked)
    assert all('penstock_requests_total{model="m",reason!~"' in each["query"] for each in asked)
    assert all('",job="x"}[' in each["query"] for each in asked)
    assert len(series) > 13.9 * 8640
    assert now - series.last < 60
    assert series.rate(86400) == pytest.approx(1.0)
    assert series.rate(600) == pytest.approx(1.0)


def test_prometheus_points_are_those_of_one_scrape_each():
    requests = {"model": "m", "version": "1", "outcome": "ok", "reason": ""}
    found, silent = grouped(
        [
            series("penstock_requests_total", [[T0, "5"], [T0 + 15, "9"]], **requests),
            series("penstock_model_ready", [[T0, "0"], [T0 + 15, "1"]], model="m", version="1"),
            series("process_start_time_seconds", [[T0, "3"], [T0 + 15, "3"]]),
            series("up", [[T0, "1"], [T0 + 15, "1"]]),
            {"metric": {"__name__": "up", "instance": "j"}, "values": [[T0, "0"]]},
        ],
        "m",
    )
    [points] = found.values()
    assert [(each.at - T0, sum(each.asked.values()), each.ready, each.started) for each in points] == [
        (0, 5, False, 3), (15, 9, True, 3),
    ]  # fmt: skip
    assert len(silent) == 1


@pytest.mark.parametrize(
    "garbage", [[{}], ["x"], [{"metric": {}, "values": []}], [series("up", [["a", "b"]])]]
)
def test_an_answer_that_is_none_of_prometheus_is_an_error(garbage):
    with pytest.raises(Unavailable, match="no list of series"):
        grouped(garbage, "m")
