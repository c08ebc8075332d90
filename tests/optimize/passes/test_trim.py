import numpy as np
import onnx
import pytest

from penstock.core.errors import LoadFailed
from penstock.optimize.samples import Samples
from tests.optimize import models
from tests.optimize.models import LONGEST, applied, cnn, encoder, loaded, mlp, offers, rows


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The original with pooled and token outputs, and what was trimmed, each on both engines."""
    file = encoder(tmp_path_factory.mktemp("trim") / "model.onnx", tokens_out=True)
    made = applied("trim", file, rows("ids"))
    return loaded(file), [loaded(made.file, engine) for engine in made.engines]


def batch(*lengths):
    mask = (np.arange(LONGEST) < np.array(lengths)[:, None]).astype(np.int64)
    return {"ids": np.random.default_rng(3).integers(1, 50, size=mask.shape) * mask, "mask": mask}


@pytest.mark.parametrize(
    "lengths", [(3,), (LONGEST,), (5, 9, 2), (LONGEST, 1, 7), (4, 0, 6), (0,)], ids=lambda each: str(each)
)
def test_pooled_answers_stay_for_lengths_of_all_kinds(pair, lengths):
    original, made = pair
    expected = original.run(batch(*lengths))["pooled"]
    for each in made:
        np.testing.assert_allclose(each.run(batch(*lengths))["pooled"], expected, atol=1e-5)


def test_outputs_with_tokens_are_padded_back_with_zeros(pair):
    original, made = pair
    expected = original.run(batch(6, 3))["tokens"]
    for each in made:
        tokens = each.run(batch(6, 3))["tokens"]
        assert expected.shape == tokens.shape
        np.testing.assert_allclose(tokens[0, :6], expected[0, :6], atol=1e-5)
        np.testing.assert_allclose(tokens[1, :3], expected[1, :3], atol=1e-5)
        assert not tokens[:, 6:].any()


def test_a_mask_with_gaps_is_cut_after_its_last_one(pair):
    original, made = pair
    asked = batch(9)
    asked["mask"][0, 2:5] = 0
    expected = original.run(asked)["pooled"]
    for each in made:
        np.testing.assert_allclose(each.run(asked)["pooled"], expected, atol=1e-5)


def test_padding_is_really_left_out(pair):
    """What stands behind the longest row cannot matter: not even an id that there is no embedding for."""
    original, made = pair
    asked = batch(4, 8)
    asked["ids"][:, 8:] = 10**6
    with pytest.raises(Exception, match="out of data bounds"):
        original.run(asked)
    assert np.isfinite(made[0].run(asked)["pooled"]).all()


def test_sizes_without_names_are_taken_for_tokens_where_they_are_those_of_the_mask(tmp_path):
    file = encoder(tmp_path / "model.onnx")
    model = onnx.load(file)
    for each in model.graph.input:
        for size in each.type.tensor_type.shape.dim:
            size.Clear()
    onnx.save(model, file)
    made = loaded(applied("trim", file, rows("ids")).file)
    asked = batch(5, 2)
    np.testing.assert_allclose(made.run(asked)["pooled"], loaded(file).run(asked)["pooled"], atol=1e-5)


@pytest.mark.parametrize("mask", ["full", "left"])
def test_samples_that_are_not_padded_at_their_ends_are_refused(tmp_path, mask):
    group = dict(rows("ids").groups[0])
    group["mask"] = np.ones_like(group["mask"]) if mask == "full" else group["mask"][:, ::-1].copy()
    with pytest.raises(LoadFailed, match="not padded at their ends"):
        applied("trim", encoder(tmp_path / "model.onnx"), Samples((group,)))


def test_it_is_offered_only_where_a_mask_goes_with_other_inputs(tmp_path):
    assert offers("trim", encoder(tmp_path / "encoder.onnx")) == [{}]
    assert offers("trim", mlp(tmp_path / "mlp.onnx")) == []
    assert offers("trim", cnn(tmp_path / "cnn.onnx")) == []
    fixed = onnx.load(tmp_path / "encoder.onnx")
    for each in fixed.graph.input:
        each.type.tensor_type.shape.dim[1].dim_value = LONGEST
    onnx.save(fixed, tmp_path / "fixed.onnx")
    assert offers("trim", tmp_path / "fixed.onnx") == []


def test_rows_of_several_shapes_are_looked_at(tmp_path):
    wide = rows("ids", 8).groups[0]
    tight = {name: array[:, :3] for name, array in wide.items()}
    file = encoder(tmp_path / "model.onnx")
    made = models.applied("trim", file, Samples((tight, wide)))
    expected = loaded(file).run(wide)["pooled"]
    np.testing.assert_allclose(loaded(made.file).run(wide)["pooled"], expected, atol=1e-5)
