"""What Prometheus hears of versions' states, targets and instances."""

import pytest

from penstock.core.spec import ModelSpec, Target
from penstock.core.types import ModelState
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus import render
from penstock.metering.prometheus.models import word


def state(name="READY", reason="", **fields):
    return ModelState(name="m", version="1", state=name, reason=reason, spec=ModelSpec(), **fields)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("ready", state()),
        ("cold", state("COLD")),
        ("loading", state("LOADING")),
        ("unloading", state("UNLOADING")),
        ("unloaded", state("UNAVAILABLE", "unloaded")),
        ("failed", state("UNAVAILABLE", "the file is no ONNX model")),
        ("quarantined", state("UNAVAILABLE", "quarantined: its processes ended 3 times in a row")),
    ],
)
def test_the_state_tells_what_went_wrong_from_what_was_wanted(expected, given):
    assert expected == word(given)


def lines(*states):
    body, _ = render(Ledger(), states)
    return [line for line in body.decode().splitlines() if not line.startswith("#")]


def test_a_version_is_in_one_state():
    found = [line for line in lines(state("LOADING")) if line.startswith("penstock_model_state")]
    assert found == ['penstock_model_state{model="m",state="loading",version="1"} 1.0']


def test_a_target_has_a_series_only_where_there_is_one():
    spec = ModelSpec(target=Target(p99_ms=20.0))
    with_target = ModelState(name="n", version="2", state="READY", spec=spec)
    found = [line for line in lines(state(), with_target) if line.startswith("penstock_target")]
    assert found == ['penstock_target_p99_seconds{model="n",version="2"} 0.02']


def test_instances_are_those_of_versions_that_are_loaded():
    found = [line for line in lines(state(instances=2)) if line.startswith("penstock_model_instances")]
    assert found == ['penstock_model_instances{model="m",version="1"} 2.0']
    assert not [line for line in lines(state("COLD")) if line.startswith("penstock_model_instances")]


def test_answers_over_the_target_are_counted_apart_whether_the_target_is_a_bucket_s_bound_or_not():
    spec = ModelSpec(target=Target(p99_ms=25.0))
    ledger = Ledger()
    ledger.book("m", "1").served(4, 0.001, [0.0] * 4, [0.012, 0.021, 0.0275, 100.0])
    ledger.book("n", "1").served(1, 0.001, [0.0], [100.0])
    body, _ = render(ledger, [ModelState(name="m", version="1", state="READY", spec=spec)])
    found = [line for line in body.decode().splitlines() if line.startswith("penstock_requests_over")]
    assert found == ['penstock_requests_over_target_total{model="m",version="1"} 2.0']
