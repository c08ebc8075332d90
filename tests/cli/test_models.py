"""``penstock models``."""

import json
from typing import Any

import pytest
from rich.console import Console

from penstock.cli.models import batches, cells, mebibytes, number, show, where
from tests.cli.command import run
from tests.cli.v2_server import V2Server, ok

MODEL: dict[str, Any] = {
    "name": "digits",
    "version": "2",
    "state": "READY",
    "reason": "",
    "live": True,
    "platform": "onnxruntime_onnx",
    "batched": True,
    "isolation": "thread",
    "instances": 2,
    "threads": 1,
    "batch_cap": 32,
    "run_ms": 3.14159,
    "load_seconds": 0.5,
    "memory_bytes": 64 << 20,
    "memory_measured": True,
    "p50_ms": 4.2,
    "p99_ms": 31.0,
    "policy": "slo",
    "target_p99_ms": 25.0,
}
BROKEN: dict[str, Any] = {
    "name": "bad",
    "version": "1",
    "state": "UNAVAILABLE",
    "reason": "no [model] file",
    "live": False,
    "isolation": "",
}


def text(models: list[dict[str, Any]], width: int = 200) -> str:
    console = Console(width=width, file=None, no_color=True)
    with console.capture() as captured:
        show(models, console)
    return captured.get()


def test_a_line_says_state_place_batches_and_times() -> None:
    line = text([MODEL]).splitlines()[1].split("  ")
    assert [cell.strip() for cell in line if cell.strip()] == [
        "digits",
        "2 *",
        "READY",
        "onnxruntime_onnx",
        "2 × 1 thread",
        "slo to 32",
        "64",
        "3.14",
        "4.2",
        "31/25",
    ]


def test_a_missed_target_is_red() -> None:
    assert cells(MODEL)[-1] == "[red]31/25[/]"
    assert cells(MODEL | {"target_p99_ms": 50.0})[-1] == "31/50"


def test_a_model_that_does_not_serve_shows_why_and_dashes() -> None:
    lines = text([BROKEN]).splitlines()
    assert "UNAVAILABLE" in lines[1]
    assert lines[2:] == ["", "bad 1: no [model] file"]
    assert cells(BROKEN)[3:] == ["–"] * 7


def test_isolation_and_batching_in_words() -> None:
    assert where(MODEL | {"isolation": "inline", "instances": 1}) == "inline"
    assert where(MODEL | {"isolation": "inline", "instances": 1, "threads": 2}) == "inline × 2 threads"
    assert where(MODEL | {"isolation": "process"}) == "2 procs × 1 thread"
    assert where(MODEL | {"isolation": "process", "instances": 1}) == "1 proc × 1 thread"
    assert where(MODEL | {"instances": 1, "device": "cuda:0"}) == "1 × 1 thread, cuda:0"
    assert batches(MODEL | {"batched": False}) == "no"


def test_a_pipeline_runs_in_its_models_and_batches_by_step() -> None:
    pipeline = MODEL | {"platform": "penstock_pipeline", "isolation": "", "instances": 0, "threads": 0}
    assert (where(pipeline), batches(pipeline)) == ("its models", "by step")


def test_memory_says_whether_it_is_estimated_and_whether_it_is_taken() -> None:
    estimated = MODEL | {"memory_measured": False}
    assert [mebibytes(MODEL), mebibytes(estimated)] == ["64", "~64"]
    assert [mebibytes(one | {"state": "COLD"}) for one in (MODEL, estimated)] == ["(64)", "(~64)"]
    assert mebibytes(BROKEN) == "–"


def test_memory_has_no_digits_that_mean_nothing() -> None:
    sizes = {3 << 10: "0.1", 9 << 20: "9.0", 640_000_000: "610"}
    assert list(sizes.values()) == [mebibytes(MODEL | {"memory_bytes": size}) for size in sizes]


def test_a_cold_model_has_no_place_and_no_batches() -> None:
    assert cells(MODEL | {"state": "COLD"})[2:6] == ["[cyan]COLD[/]", "onnxruntime_onnx", "–", "–"]


def test_a_version_is_one_line_of_a_terminal_with_80_columns() -> None:
    long = MODEL | {"name": "digits-linear", "run_ms": 0.00653, "p99_ms": 8.25, "reason": "slow " * 40}
    wide, narrow = text([long, long], 120).splitlines(), text([long, long], 80).splitlines()
    assert "onnxruntime_onnx" in wide[1]
    assert "onnxruntime_onnx" not in narrow[1]
    assert [line.split()[0] for line in narrow[:3]] == ["model", "digits-linear", "digits-linear"]
    assert narrow[1].split()[-1] == "8.25/25"


@pytest.mark.parametrize("width", [40, 60, 72, 80, 90, 100, 120, 160])
def test_every_row_begins_with_its_name_however_narrow_the_terminal(width: int) -> None:
    busy = {"isolation": "process", "run_ms": 0.00653, "state": "UNAVAILABLE", "reason": ""}
    models = [MODEL | busy | {"name": name} for name in ("digits-a", "digits-b")]
    lines = text(models, width).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "digits-a", "digits-b"]
    assert max(len(line) for line in lines) <= width


def test_a_long_name_is_folded_and_pushes_no_more_out_than_a_name_of_24_letters() -> None:
    long = MODEL | {"name": "a-very-long-name-" * 4}
    rows = text([long], 120).splitlines()
    assert "".join(line.split()[0] for line in rows[1:]) == long["name"]
    assert "onnxruntime_onnx" in text([long], 120)


def test_numbers_have_three_digits() -> None:
    assert [number(x) for x in (None, 0.01234, 1.0, 12.345, 1234.5)] == ["–", "0.0123", "1", "12.3", "1234"]


def test_json_is_the_servers_list(capsys: pytest.CaptureFixture[str]) -> None:
    with V2Server(routes={"/penstock/models": ok({"models": [MODEL, BROKEN]})}) as server:
        assert run("models", "--url", server.url, "--json") == 0
        assert json.loads(capsys.readouterr().out) == [MODEL, BROKEN]
        assert run("models", "--url", server.url) == 0
        assert "digits" in capsys.readouterr().out


def test_an_empty_server_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with V2Server(routes={"/penstock/models": ok({"models": []})}) as server:
        run("models", "--url", server.url)
    assert capsys.readouterr().out.startswith("no models at")
