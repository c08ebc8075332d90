from pathlib import Path

import numpy as np
import pytest

from penstock.core.errors import LoadFailed
from penstock.engines.torch import TorchEngine
from penstock.optimize.passes import Source
from penstock.optimize.passes.ir import Ir
from penstock.optimize.types import Artefact
from tests.optimize import models
from tests.optimize.passes import toy

pytest.importorskip("torch")
MAKERS = {"weights": toy.weights, "state": toy.state, "script": toy.script, "program": toy.program}
MODULE = f"{toy.__name__}:network"


def made_of(kind: str, folder: Path) -> Source:
    file = MAKERS[kind](folder)
    return toy.source(file, toy.spec(file, MODULE if kind in ("weights", "state") else ""))


def agree(source: Source, made: Artefact, engine: str) -> None:
    """Signatures are the same, and answers for one row and for five."""
    before = TorchEngine().open(source.spec, source.file)
    after = models.loaded(made.file, engine, made.settings)
    assert before.signature == after.signature
    for rows in (1, 5):
        asked = toy.images(rows).groups[0]
        want, have = before.run(asked), after.run(asked)
        np.testing.assert_allclose(have["logits"], want["logits"], atol=1e-5)
        np.testing.assert_array_equal(have["top"], want["top"])


@pytest.mark.parametrize("kind", MAKERS)
def test_ir_answers_as_the_program_for_any_number_of_rows(tmp_path, kind):
    source = made_of(kind, tmp_path)
    made = toy.applied("ir", source, toy.images())
    assert made.engines == ("openvino",)
    assert {"openvino", "torch"} == made.steps[0].versions.keys()
    agree(source, made, "openvino")


@pytest.mark.parametrize("kind", ["weights", "state"])
def test_onnx_answers_as_the_program_for_any_number_of_rows(tmp_path, kind):
    source = made_of(kind, tmp_path)
    made = toy.applied("ir", source, toy.images(1), to="onnx")
    assert made.engines == ("onnx", "openvino")
    for engine in made.engines:
        agree(source, made, engine)


def test_an_output_that_is_an_input_keeps_its_name(tmp_path):
    file = toy.passing(tmp_path)
    source = toy.source(file, toy.spec(file, ""))
    made = toy.applied("ir", source, toy.images())
    session = models.loaded(made.file, "openvino")
    assert source.signature == session.signature
    asked = toy.images(3).groups[0]
    np.testing.assert_array_equal(session.run(asked)["output_0"], asked["image"])
    np.testing.assert_array_equal(session.run(asked)["output_1"], asked["image"] * 2)


def test_a_program_that_keeps_its_number_of_rows_is_refused(tmp_path):
    file = toy.weights(tmp_path)
    source = toy.source(file, toy.spec(file, f"{toy.__name__}:fixed"))
    with pytest.raises(LoadFailed, match=r"as \[2, 10\] for 1 rows"):
        toy.applied("ir", source, toy.images())


def test_what_is_offered_goes_by_what_the_file_holds(tmp_path):
    both = [{}, {"to": "onnx"}]
    offered = {"weights": both, "script": [{}], "program": [{}]}
    for kind, expected in offered.items():
        folder = tmp_path / kind
        folder.mkdir()
        assert expected == list(Ir().variants(made_of(kind, folder)))


def test_nothing_is_offered_for_other_files(tmp_path):
    assert Ir().variants(models.source(models.mlp(tmp_path / "model.onnx"))) == ()
