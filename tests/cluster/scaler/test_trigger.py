"""Metadata of a ScaledObject's trigger: all texts, and wrong ones say what would be right."""

import pytest

from penstock.cluster.scaler.trigger import read
from penstock.core.errors import BadSetting
from penstock.scaling.types import Schedule

LEAST = {"model": "m", "replicas": "penstock-replicas.ml:8000", "most": "9"}


def test_the_least_that_must_be_said():
    trigger = read(LEAST)
    assert (trigger.model, trigger.replicas) == ("m", "penstock-replicas.ml:8000")
    assert (trigger.terms.least, trigger.terms.most, trigger.every_s) == (1, 9, 1.0)


def test_everything_that_can_be_said():
    said = {
        "model": "m", "serverAddress": "http://prometheus:9090", "selector": 'job="penstock"', "demand": "x",
        "target": "25.5", "carries": "40", "startupSeconds": "90", "syncSeconds": "10", "everySeconds": "2",
        "staleSeconds": "120", "tolerance": "0.05", "least": "0", "most": "20", "idleSeconds": "600",
        "budget": "0.02", "holdSeconds": "60", "tickSeconds": "5", "feedback": "false", "headroom": "1.5",
        "schedules": "0 8 * * 1-5 = 4 for 7200; 30 12 * * * = 2",
    }  # fmt: skip
    trigger = read(said)
    assert (trigger.target_ms, trigger.carries, trigger.startup_s, trigger.sync_s) == (25.5, 40, 90, 10)
    assert (trigger.every_s, trigger.stale_s, trigger.tolerance) == (2, 120, 0.05)
    terms = trigger.terms
    assert (terms.least, terms.most, terms.idle_s, terms.budget, terms.hold_s) == (0, 20, 600, 0.02, 60)
    assert (terms.tick_s, terms.feedback, terms.headroom) == (5, False, 1.5)
    assert terms.schedules == (Schedule("0 8 * * 1-5", 4, 7200), Schedule("30 12 * * *", 2, 3600))


def test_what_keda_passes_on_for_itself_is_left_alone():
    assert read(LEAST | {"scalerAddress": "a:1", "enableTLS": "true"}) == read(LEAST)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"modle": "m"}, "no key 'modle'; did you mean 'model'?"),
        ({"model": ""}, "name the model whose requests are to be counted"),
        ({"replicas": ""}, "give serverAddress (of Prometheus) or replicas (host:port)"),
        ({"serverAddress": "http://p"}, "and not both"),
        ({"serverAddress": "prometheus:9090", "replicas": ""}, "e.g. http://prometheus.monitoring:9090"),
        ({"selector": 'job="x"'}, "selector is for Prometheus"),
        ({"most": "many"}, "most must be a whole number, got 'many'"),
        ({"least": "12"}, "least (12) must not be over most (9)"),
        ({"least": "0"}, "give demand"),
        ({"target": "soon"}, "target must be a number, got 'soon'"),
        ({"target": "0"}, "target must be a number from 0.001"),
        ({"target": "nan"}, "target must be a number from 0.001"),
        ({"feedback": "maybe"}, "feedback must be true or false"),
        ({"schedules": "tomorrow"}, "schedules must be CRON = REPLICAS for SECONDS"),
        ({"schedules": "99 8 * * 1-5 = 4"}, "cron's five fields (schedule"),
    ],
)
def test_what_is_wrong_says_what_would_be_right(changed, sentence):
    given = {key: value for key, value in (LEAST | changed).items() if value or key == "model"}
    with pytest.raises(BadSetting) as caught:
        read(given)
    assert sentence in str(caught.value)


def test_most_must_be_said():
    with pytest.raises(BadSetting, match="most is missing"):
        read({"model": "m", "replicas": "a:1"})
