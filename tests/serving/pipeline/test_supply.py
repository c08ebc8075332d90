"""Which models a pipeline needs, and ways that come back to where they began."""

import pytest

from penstock.core.spec import ModelSpec, Step
from penstock.serving.pipeline.supply import cycle, models


def test_a_pipeline_needs_the_models_of_its_steps_and_others_need_none():
    steps = (Step(model="a"), Step(model="b"), Step(model="a", name="again"))
    assert models(ModelSpec(steps=steps)) == {"a", "b"}
    assert models(ModelSpec()) == set()


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, []),
        ({"a": {"b", "c"}, "b": {"c"}}, []),
        ({"a": {"a"}}, ["a", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ["a", "b", "c", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, []),
    ],
)
def test_a_circle_is_a_way_back_to_the_model_itself(graph, expected):
    assert cycle("a", graph) == expected
