"""The terms of a rollout: from options, from JSON, over those of model.toml."""

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spans import duration
from penstock.core.spec import Rollout
from penstock.rollout.terms import check, guard, percents, terms, typed
from penstock.rollout.words import GUARDS, HARD


def test_what_is_typed_becomes_terms():
    values = typed(
        plan="canary",
        steps="1, 5 %,25,100",
        guards=["p99=1.2", "cost=off", "energy=on", "answers=0.02"],
        hold="10m",
        patience="2d",
        sticky="header:X-User",
        mirror=0.05,
        baseline=True,
    )
    expected = Rollout(
        plan="canary",
        steps=(1, 5, 25, 100),
        guards={"p99": 1.2, "cost": False, "energy": True, "answers": 0.02},
        hold_s=600,
        patience_s=172_800,
        sticky="header:X-User",
        mirror=0.05,
        baseline=True,
    )
    assert expected == terms(values)


def test_what_was_not_typed_is_left_to_the_model():
    assert typed() == {}
    assert typed(plan="", compare="", mirror=None, baseline=None) == {}
    assert typed(mirror=0.0, baseline=False) == {"mirror": 0.0, "baseline": False}


def test_without_a_plan_it_is_a_canary():
    assert terms({}) == Rollout(plan="canary")
    assert terms({}, Rollout(steps=(1, 50))) == Rollout(plan="canary", steps=(1, 50))


def test_what_is_given_goes_before_what_the_model_says():
    base = Rollout(plan="canary", steps=(1, 50), guards={"p99": 1.5, "cost": False}, hold_s=60, baseline=True)
    found = terms({"guards": {"p99": 1.1}, "hold_s": 5, "baseline": False, "sticky": None}, base)
    assert found.guards == {"p99": 1.1, "cost": False}
    assert (found.hold_s, found.baseline, found.steps) == (5, False, (1, 50))


@pytest.mark.parametrize("plan", ["blue-green", "shadow", "ab"])
def test_another_plan_does_not_take_the_models_steps(plan):
    base = Rollout(plan="canary", steps=(1, 50))
    assert terms({"plan": plan}, base) == Rollout(plan=plan)
    assert terms({"plan": "canary"}, base).steps == (1, 50)


def test_a_model_without_a_plan_lends_its_steps_to_a_canary_alone():
    assert terms({"plan": "canary"}, Rollout(steps=(1, 50))).steps == (1, 50)
    assert terms({"plan": "shadow"}, Rollout(steps=(1, 50))).steps == ()


@pytest.mark.parametrize("name", GUARDS)
def test_every_guard_can_be_turned_off(name):
    assert guard(f" {name} = off ") == (name, False)
    assert terms({"guards": {name: False}}).guards == {name: False}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("p9=1.2", "no guard 'p9'; did you mean 'p99'?"),
        ("latency=2", "no guard 'latency'; have accuracy, answers, cost"),
        ("p99", "guard 'p99': write p99=1.2, or p99=off"),
        ("p99=fast", "guard 'p99=fast': write p99=1.2, or p99=off"),
        ("answers=few", "guard 'answers=few': write answers=0.02, or answers=off"),
        *[(f"{name}=2", f"guard '{name}' acts at once and has no margin; have errors,") for name in HARD],
    ],
)
def test_a_guard_that_is_none_is_told_what_would_be(text, sentence):
    with pytest.raises(BadSetting) as caught:
        guard(text)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("text", ["one", "1,,5", "1;5", ""])
def test_steps_are_percents(text):
    with pytest.raises(BadSetting, match=r"are no percents; write e.g. 1,5,25,100"):
        percents(text)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"plan": "canry"}, "rollout: plan cannot be 'canry'; did you mean 'canary'?"),
        ({"plan": ""}, "rollout: plan cannot be ''; have aa, ab, blue-green, canary, shadow"),
        ({"plan": ["ab"]}, "rollout: plan cannot be ['ab']; have"),
        ({"plann": "canary"}, "rollout: no setting 'plann'; did you mean 'plan'?"),
        ({"steps": [5, 1]}, "rollout: steps cannot be '5,1'; they must rise: 1,5"),
        ({"steps": [1, 5, 5]}, "rollout: steps cannot be '1,5,5'; they must rise: 1,5"),
        ({"steps": [0, 5]}, "rollout: steps[0]: expected `float` > 0.0"),
        ({"steps": [150]}, "rollout: steps[0]: expected `float` <= 100.0"),
        ({"plan": "shadow", "steps": [5]}, "rollout: steps cannot be '5'; shadow takes none"),
        ({"plan": "blue-green", "steps": [5]}, "rollout: steps cannot be '5'; blue-green takes none"),
        ({"plan": "ab", "steps": [5, 50]}, "rollout: steps cannot be '5,50'; ab takes one"),
        ({"plan": "ab", "steps": [100]}, "rollout: steps cannot be '100'; ab needs both versions"),
        ({"sticky": "tennant"}, "rollout: sticky cannot be 'tennant'; did you mean 'tenant'?"),
        ({"sticky": "header:"}, "rollout: sticky cannot be 'header:'; did you mean 'header:NAME'?"),
        ({"sticky": "header:a b"}, "rollout: sticky cannot be 'header:a b'"),
        ({"sticky": "cookie:x"}, "rollout: sticky cannot be 'cookie:x'; have header:NAME, id,"),
        ({"compare": "top-1"}, "rollout: compare cannot be 'top-1'; name a function as"),
        ({"compare": "my module:f"}, "rollout: compare cannot be 'my module:f'"),
        ({"plan": "shadow", "mirror": 0}, "rollout: mirror cannot be 0; a shadow rollout judges by copies"),
        ({"mirror": 2}, "rollout: mirror: expected `float` <= 1.0"),
        ({"hold_s": 60, "patience_s": 60}, "rollout: hold_s cannot be 60.0; it must be less than patience"),
        ({"plan": "ab", "inconclusive": "promote"}, "rollout: inconclusive cannot be 'promote'; ab never"),
        ({"risk": 1}, "rollout: risk: expected `float` < 1.0"),
        (
            {"guards": {"p99": 0.9}},
            "rollout: guards.p99 cannot be 0.9; it is new over old and must be over 1",
        ),
        ({"guards": {"p99": float("inf")}}, "rollout: guards.p99 cannot be inf; it is new over old"),
        ({"guards": {"outputs": 0.02}}, "rollout: guards.outputs cannot be 0.02; it is new over old"),
        ({"guards": {"answers": 1.5}}, "rollout: guards.answers cannot be 1.5; it is a part of the answers"),
        ({"guards": {"p9": 1.5}}, "no guard 'p9'; did you mean 'p99'?"),
        ({"guards": {"p99": "1.5"}}, "rollout: guards.p99: expected"),
        ({"guards": [1]}, "rollout: guards: expected `object`, got `array`"),
    ],
)
def test_terms_that_make_no_plan_are_told_what_would(values, sentence):
    with pytest.raises(BadSetting) as caught:
        terms(values)
    assert str(caught.value).replace("`", "").startswith(sentence.replace("`", "")), str(caught.value)


@pytest.mark.parametrize(
    "good",
    [
        Rollout(),
        Rollout(plan="ab", steps=(30,)),
        Rollout(plan="shadow", mirror=1.0),
        Rollout(sticky="parameter:user id"),
        Rollout(compare="my.module:same"),
    ],
)
def test_terms_that_make_a_plan_stay_as_they_are(good):
    assert check(good) is good


def test_steps_out_of_range_are_found_without_json_too():
    with pytest.raises(BadSetting, match="each must be over 0 and at most 100 percent"):
        check(Rollout(steps=(50, 101)))


def test_spans_of_time_go_up_to_days():
    assert [duration(text, "--hold") for text in ("500ms", "1 m", "2d")] == [0.5, 60, 172_800]
