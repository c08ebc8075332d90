"""The ten traps that others fell into; each test says which, and what must happen instead."""

import asyncio
import importlib
import logging
import pkgutil
import re
from time import monotonic

import grpc
import numpy as np
import pytest

import penstock
from benchmarks import fixtures
from penstock.client import ServerError
from penstock.core import errors
from penstock.core.errors import BadSetting, DeadlineExceeded, EngineFailed, PenstockError, reason
from penstock.doors.errors import GRPC, HTTP, grpc_code, http_status
from tests.e2e import models
from tests.e2e.process import refused
from tests.scheduling.stage import VARIED, Greedy, first, outcome, staged

MB = 1_000_000


def test_trap_01_cancelling_one_of_a_running_batch_leaves_the_others_their_own_answers():
    @staged(policy=Greedy(3))
    async def run(stage):
        stage.session.gate.clear()
        tasks = [asyncio.create_task(first(stage.ask(number))) for number in (4, 5, 6)]
        while [4, 5, 6] not in stage.session.batches:
            await asyncio.sleep(0.001)
        tasks[1].cancel()
        await asyncio.sleep(0)
        stage.release()
        assert await asyncio.gather(tasks[0], tasks[2]) == [8, 12]
        assert tasks[1].cancelled()

    run()


def test_trap_02_a_policy_that_raises_is_told_to_callers_and_turns_readiness_red(inside, repository, caplog):
    (repository / "tiny" / "model.toml").write_text(
        '[batching]\npolicy = "tests.traps.policies:FailsOnThird"\n'
    )
    client = inside(repository)
    x = np.zeros((1, 32), np.float32)
    for _ in range(2):
        client.infer("tiny", {"x": x})
    assert client.ready()
    caplog.set_level(logging.CRITICAL, "penstock")
    with pytest.raises(ServerError, match="the batch policy of model 'tiny' failed: a user's mistake") as got:
        client.infer("tiny", {"x": x})
    assert got.value.status == 500
    assert not client.ready()


def test_trap_03_what_differs_is_never_merged_and_an_odd_request_never_spoils_its_batch():
    @staged(policy=Greedy(64), signature=VARIED)
    async def run(stage):
        blocker = await stage.busy()
        asked = [(1, {}), (2, {"width": 3}), (3, {"outputs": ("y",)}), (13, {}), (5, {}), (6, {"width": 3})]
        tickets = [stage.ask(number, **how) for number, how in asked]
        stage.release()
        await blocker
        got = [await outcome(ticket) for ticket in tickets]
        assert isinstance(got.pop(3), EngineFailed)
        assert got == [2, 4, 6, 10, 12]
        assert stage.session.batches == [[99], [1, 13, 5], [1], [13], [5], [2, 6], [3]]

    run()


def test_trap_04_a_model_whose_axis_0_is_no_batch_axis_is_served_unbatched_and_the_log_says_so(
    serve, tmp_path
):
    fixtures.write(tmp_path / "models", "mean", "1", models.mean_over_rows())
    server = serve(tmp_path / "models", watch_enabled=False)
    state = server.get("/penstock/models").json()["models"][0]
    assert state["batched"] is False
    assert state["reason"].startswith("not batched: ")
    assert server.log("model mean version 1 is live: .* unbatched")
    x = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [0, 0, 0, 0, 2, 2, 2, 2]}
    answer = server.post("/v2/models/mean/infer", json={"inputs": [x]}).json()
    assert answer["outputs"][0]["data"] == [-1] * 4 + [1] * 4


def leaves(kind=PenstockError):
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return [leaf for each in below for leaf in leaves(each)] if below else [kind]


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_trap_05_every_leaf_of_the_error_tree_has_a_code_in_every_door(leaf):
    """A code of its own or its parents'; the root's would mean that it was forgotten."""
    error = leaf("why")
    for table in (HTTP, GRPC):
        assert next(kind for kind in leaf.__mro__ if kind in table) is not PenstockError
    assert 400 <= http_status(error) < 600
    assert grpc.StatusCode[grpc_code(error)] is not grpc.StatusCode.OK
    assert (http_status(error) == 500) == issubclass(leaf, errors.Failed)


def test_trap_05_the_words_of_the_metrics_cover_what_a_request_can_meet():
    told = [leaf for leaf in leaves() if leaf not in (errors.LoadFailed, BadSetting)]
    assert [leaf.__name__ for leaf in told if reason(leaf("why")) == "other"] == ["MethodNotAllowed"]


@pytest.mark.parametrize(
    ("flags", "settings", "words"),
    [
        ((), {"server_http_prot": 1}, "no variable PENSTOCK_SERVER_HTTP_PROT; did you mean"),
        ((), {"log_formatt": "json"}, "PENSTOCK_LOG_FORMAT"),
        (("--http-prot", "1"), {}, "--http-port"),
    ],
)
def test_trap_06_a_typo_in_a_setting_stops_the_start_and_names_the_nearest(
    repository, flags, settings, words
):
    code, said = refused(repository, *flags, **settings)
    assert code == 2
    assert words in said


@pytest.mark.parametrize("file", ["penstock.toml", "model.toml"])
def test_trap_06_a_typo_in_a_file_names_the_nearest(repository, tmp_path, inside, file, caplog):
    if file == "penstock.toml":
        (tmp_path / file).write_text("[server]\nhttp_prot = 1\n")
        code, said = refused(repository, "--config", str(tmp_path / file))
        assert code == 2
    else:
        (repository / "tiny" / file).write_text("[bathcing]\nmax_rows = 1\n")
        caplog.set_level(logging.CRITICAL, "penstock")
        client = inside(repository)
        assert not client.ready()
        said = client.index()[0]["reason"]
    assert file in said
    assert {"penstock.toml": "http_port", "model.toml": "batching"}[file] in said


def test_trap_07_who_has_gone_is_dropped_and_who_is_too_late_is_refused_and_neither_is_run():
    @staged()
    async def run(stage):
        blocker = await stage.busy()
        gone, late, good = stage.ask(1), stage.ask(2, deadline=monotonic() + 1), stage.ask(3)
        gone.cancel()
        stage.scheduler.expire(monotonic() + 2)
        assert isinstance(await outcome(late), DeadlineExceeded)
        with pytest.raises(DeadlineExceeded):
            stage.ask(4, deadline=monotonic() - 1)
        stage.release()
        await blocker
        assert await first(good) == 6
        assert stage.session.batches == [[99], [3]]

    run()


EMPTY = {"penstock_cold_wait_seconds"}
"""Histograms of what has not happened here: nobody has asked for a cold model."""


def test_trap_08_times_are_exported_as_mergeable_histograms_and_never_as_quantiles(server):
    for _ in range(3):
        body = {"inputs": [{"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.0] * 32}]}
        assert server.post("/v2/models/tiny/infer", json=body).status_code == 200
    text = server.get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert "summary" not in kinds.values()
    assert "quantile=" not in text
    histograms = [name for name, kind in kinds.items() if kind == "histogram"]
    assert len([name for name in histograms if name.endswith("_seconds")]) >= 3
    for name in histograms:
        bounds = {}  # of every series: one model's buckets must add to another's
        for labels in re.findall(rf"^{name}_bucket{{(.*)}} ", text, re.MULTILINE):
            series, bound = re.subn(r'le="[^"]*",?', "", labels)[0], re.search('le="([^"]*)"', labels)[1]
            bounds.setdefault(series, []).append(bound)
        if name in EMPTY and not bounds:
            continue
        assert len({tuple(each) for each in bounds.values()}) == 1, (
            "one model's buckets must add to another's"
        )


@pytest.mark.slow
def test_trap_09_unloading_gives_the_memory_back_two_hundred_times(serve, repository):
    """A tenth of the weights left behind each time would make 72 MB."""
    fixtures.write(repository, "middling", "1", fixtures.sized(4))
    server = serve(repository, watch_enabled=False)
    for number in range(200):
        assert server.post("/v2/repository/models/middling/unload").status_code == 200
        if number == 20:
            without = server.rss()
        assert server.post("/v2/repository/models/middling/load").status_code == 200
    assert server.post("/v2/repository/models/middling/unload").status_code == 200
    grown = server.rss() - without
    assert grown < 15 * MB, f"{grown / MB:.1f} MB"
    states = server.post("/v2/repository/index").json()
    assert {one["name"]: one["state"] for one in states} == {"middling": "UNAVAILABLE", "tiny": "READY"}


def modules():
    found = pkgutil.walk_packages(penstock.__path__, "penstock.")
    names = [each.name for each in found if not each.name.endswith(("__main__", "_pb2"))]
    return [penstock, *map(importlib.import_module, names)]


def test_trap_10_what_a_module_says_it_exports_is_sorted_and_there():
    """README blocks are run, and the files that pages name looked for, by tests/test_docs.py."""
    for module in modules():
        names = getattr(module, "__all__", [])
        assert list(names) == sorted(names), module.__name__
        assert [name for name in names if not hasattr(module, name)] == [], module.__name__


@pytest.mark.parametrize("module", ["penstock", "penstock.client", "penstock.testing"])
def test_trap_10_what_users_import_is_all_that_is_public_there(module):
    """Of classes and functions that the module holds, those without an underscore are exported."""
    held = importlib.import_module(module)
    public = {
        name
        for name, value in vars(held).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")) == module
    }
    assert public <= set(held.__all__)
