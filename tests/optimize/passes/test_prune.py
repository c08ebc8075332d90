from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import Source
from penstock.optimize.passes.prune import RATIOS, Prune
from tests.optimize import models
from tests.optimize.passes import toy

pytest.importorskip("torch_pruning")
HERE = toy.__name__


def source(folder: Path, function: str = "finetune", **told: Any) -> Source:
    file = toy.weights(folder)
    return toy.source(file, toy.spec(file), finetune=f"{HERE}:{function}" if function else "", **told)


@pytest.mark.parametrize(("ratio", "left"), [(0.3, 16), (0.5, 16), (0.7, 8)])
def test_what_is_left_is_smaller_and_has_the_same_signature(tmp_path, ratio, left):
    told = source(tmp_path)
    made = toy.applied("prune", told, toy.images(), ratio=ratio)
    shapes = {tuple(each.dims) for each in models.read(Path(made.file)).graph.initializer}
    assert (left, 1, 3, 3) in shapes
    assert (left, left, 3, 3) in shapes
    for engine in ("onnx", "openvino"):
        session = models.loaded(made.file, engine)
        assert told.signature == session.signature
        assert session.run(toy.images(5).groups[0])["logits"].shape == (5, 10)
    assert {"torch", "torch-pruning"} == made.steps[0].versions.keys()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("fails", "toy:fails' failed: RuntimeError: there is no data here"),
        ("forgets", "gave int; it must give an nn.Module or None"),
        ("replaces", "logits"),
        ("nowhere", "cannot be imported"),
    ],
)
def test_a_function_that_fails_is_the_reason(tmp_path, function, said):
    with pytest.raises(LoadFailed, match=said):
        toy.applied("prune", source(tmp_path, function), toy.images(), ratio=0.5)


def test_it_is_offered_with_a_function_alone(tmp_path):
    assert [{"ratio": ratio} for ratio in RATIOS] == list(Prune().variants(source(tmp_path)))
    assert Prune().variants(source(tmp_path, "")) == ()


def test_it_is_offered_for_modules_alone(tmp_path):
    file = toy.script(tmp_path)
    told = toy.source(file, toy.spec(file, ""), finetune=f"{HERE}:finetune")
    assert Prune().variants(told) == ()
