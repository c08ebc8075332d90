"""Scaling over HTTP: what is asked is answered, and what is not understood is explained."""

import httpx
import pytest

from tests.e2e import steady


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    from penstock.testing import running

    folder = tmp_path_factory.mktemp("scaled") / "models"
    steady.write(folder, "moves", run=0.001, settings="min = 1\nmax = 3")
    steady.write(folder, "stays", run=0.001, settings="count = 1")
    steady.write(folder, "goes", run=0.001, settings="count = 1")
    with running(folder, scaling__every_s=1, watch__settle_s=0) as client:
        client.unload("goes")
        yield client


def test_every_model_is_told_of_and_why_its_number_stays(scaled):
    found = {one["model"]: one for one in scaled.scales()}
    assert {name: one["fixed"] for name, one in found.items()} == {
        "moves": "", "stays": "fixed", "goes": "absent"
    }  # fmt: skip
    assert (found["moves"]["least"], found["moves"]["most"]) == (1, 3)
    assert 300 < found["stays"]["carries"] < 1000


def test_one_model_comes_with_its_decisions_and_its_history(scaled):
    from tests.e2e.process import until

    until(lambda: scaled.scale("moves")["decisions"], "a decision")
    told = scaled.scale("moves")["decisions"][0]
    assert (told["wanted"], told["by"]) == (1, "floor")
    assert "an instance" in told["line"]
    assert scaled.scale("moves", limit=0)["decisions"] == []
    history = httpx.get(f"{scaled.url}/penstock/scale/moves/history").json()
    assert set(history) == {"at", "rate", "forecast", "capacity", "ready", "wanted"}
    assert len(set(map(len, history.values()))) == 1


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/penstock/scale/nobody", 404, "no model 'nobody'"),
        ("/penstock/scale/nobody/history", 404, "no model 'nobody'"),
        ("/penstock/scale/moves?limit=101", 400, "limit must be a whole number from 0 to 100, got '101'"),
        ("/penstock/scale/moves?limit=-1", 400, "limit must be a whole number"),
        ("/penstock/scale/moves?limits=1", 400, "no parameter 'limits'; did you mean 'limit'"),
        ("/penstock/scale?since=1h", 400, "no parameter 'since'; it takes none"),
        ("/penstock/scale/moves/histories", 404, ""),
    ],
)
def test_what_is_not_understood_is_explained(scaled, path, status, sentence):
    answer = httpx.get(scaled.url + path)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]


def test_metrics_tell_what_instances_carry_and_what_is_wanted(scaled):
    lines = httpx.get(scaled.url + "/metrics").text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    assert values['penstock_instances_wanted{model="moves"}'] == 1
    assert 'penstock_instances_wanted{model="stays"}' not in values
    assert values['penstock_instance_carries{model="stays"}'] > 300
    assert values['penstock_startup_seconds{model="moves"}'] > 0
