"""``penstock bench`` from the command line to the figures."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from penstock.cli.bench import is_local, plan_levels
from penstock.cli.measure import Row, Samples, summarize
from penstock.cli.report import table, warn
from penstock.core.errors import BadSetting
from tests.cli.certificate import make
from tests.cli.command import run
from tests.cli.v2_server import METADATA, V2Server, error, ok

SHORT = ("--duration", "0.2", "--warmup", "0")


@pytest.fixture
def server() -> Iterator[V2Server]:
    with V2Server() as running:
        yield running


def test_levels_come_from_both_options() -> None:
    assert plan_levels("", "") == [("concurrency", 1), ("concurrency", 8), ("concurrency", 32)]
    assert plan_levels("4", "0.5,2e3") == [("concurrency", 4), ("rate", 0.5), ("rate", 2000)]
    assert plan_levels("", "7") == [("rate", 7)]


@pytest.mark.parametrize(("concurrency", "rate"), [("0", ""), ("1,", ""), ("1.5", ""), ("", "x"), ("", "-1")])
def test_levels_that_are_none_are_refused(concurrency: str, rate: str) -> None:
    with pytest.raises(BadSetting):
        plan_levels(concurrency, rate)


def test_figures_are_shown_and_written(
    server: V2Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    levels = ("--concurrency", "2", "--rate", "100", "--rows", "3")
    assert run("bench", server.url, "double", *levels, *SHORT, "--json", str(out)) == 0
    shown = capsys.readouterr().out
    assert "2 at once" in shown
    assert "100/s" in shown
    assert "queue 2 ms, compute 2 ms, 4 rows a batch" in shown
    written = json.loads(out.read_text())
    assert sorted(written) == ["machine", "rows", "target"]
    assert [(row["mode"], row["level"]) for row in written["rows"]] == [("concurrency", 2), ("rate", 100)]
    assert all(row["requests"] > 0 and row["p99_ms"] >= row["p50_ms"] > 0 for row in written["rows"])
    assert written["rows"][0]["rows_per_s"] == 3 * written["rows"][0]["requests_per_s"]
    assert (written["target"]["rows"], written["target"]["body"]) == (3, "binary")
    assert {"processor", "cores", "system", "python", "penstock"} == set(written["machine"])


def test_a_saved_request_is_repeated_as_it_is(
    server: V2Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = tmp_path / "two.json"
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [0] * 8}
    request.write_text(json.dumps({"inputs": [tensor]}))
    options = ("--concurrency", "1", "--request", str(request), "--json", "-")
    assert run("bench", server.url, "double", *options, *SHORT) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["target"]["rows"] == 2
    assert "1 at once" in shown.err
    assert {seen.body for seen in server.seen if seen.path.endswith("/infer")} == {request.read_bytes()}
    request.write_text("{}")
    assert run("bench", server.url, "double", "--request", str(request)) == 2
    assert "no V2 infer request" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_before_any_load(
    server: V2Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.routes["/v2/models/double/infer"] = error(400, "no, thanks")
    assert run("bench", server.url, "double") == 2
    assert capsys.readouterr().err == "error: no, thanks\n"
    assert len([seen for seen in server.seen if seen.path.endswith("/infer")]) == 1


@pytest.mark.parametrize("answer", [(404, {}, b"nothing here"), (200, {}, b"<html>"), ok({}), ok([])])
def test_a_server_that_is_none_of_ours_is_named_so(
    server: V2Server, answer: tuple[int, dict[str, str], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    server.routes["/v2"] = answer
    assert run("bench", server.url, "double") == 2
    assert "answers, but not as an Open Inference Protocol (V2) server does" in capsys.readouterr().err


def test_errors_under_load_are_told_in_the_servers_words(
    server: V2Server, capsys: pytest.CaptureFixture[str]
) -> None:
    first = iter([ok({"outputs": []})])
    server.routes["/v2/models/double/infer"] = lambda seen: next(first, error(503, "queue is full"))
    assert run("bench", server.url, "double", "--concurrency", "1", *SHORT) == 2
    shown = capsys.readouterr()
    assert "× 503: queue is full" in shown.err
    assert "gave not one good answer under load" in shown.err


def test_https_and_keys_reach_the_load(tmp_path: Path) -> None:
    context, pem = make(tmp_path)
    with V2Server(tls=context, key="k") as server:
        options = ("--concurrency", "1", "--key", "k", "--ca", pem, "--json-body")
        assert run("bench", server.url, "double", *options, *SHORT) == 0


def test_only_loopback_is_local() -> None:
    assert [
        host for host in ("127.0.0.2", "::1", "localhost", "10.0.0.1", "example.org") if is_local(host)
    ] == [
        "127.0.0.2",
        "::1",
        "localhost",
    ]


def row(latencies: list[float], late: list[float], unanswered: int = 0) -> Row:
    samples = Samples(
        seconds=1.0,
        latencies=np.array(latencies),
        unanswered=np.full(unanswered, 0.5),
        completed=len(latencies),
        late=np.array(late),
    )
    return summarize("rate", 100, samples, 1)


def test_figures_that_deserve_less_trust_say_so() -> None:
    assert warn(row([0.002] * 100, [0.00001] * 100)) == ""
    assert "the load generator itself was up to 1 ms late" in warn(row([0.002] * 100, [0.001] * 100))
    assert "100/s: only 50 good answers a second" in warn(row([0.002] * 50, []))


def test_unanswered_requests_have_a_column_when_there_are_any() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table([row([0.0012345], [], unanswered=7)]))
    head, line = captured.get().splitlines()
    assert head.split() == [
        "load",
        "requests/s",
        "errors",
        "unanswered",
        "p50",
        "ms",
        "p90",
        "p99",
        "p99.9",
        "max",
    ]
    assert line.split() == ["100/s", "1.00", "0", "7", "500", "500", "500", "500", "500"]


def test_metadata_is_what_the_load_is_made_of(server: V2Server) -> None:
    assert run("bench", server.url, "two", "--dim", "ids=5", "--concurrency", "1", "--json-body", *SHORT) == 0
    body = json.loads(next(seen.body for seen in server.seen if seen.path.endswith("/infer")))
    assert [entry["shape"] for entry in body["inputs"]] == [[1, 5], [1]]
    assert [entry["name"] for entry in body["inputs"]] == [i["name"] for i in METADATA["two"]["inputs"]]
