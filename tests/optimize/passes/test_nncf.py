"""The passes by NNCF and OpenVINO: static int8, with accuracy control, weights alone, and bf16."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec, OpenVino
from penstock.optimize.passes import quantizing
from penstock.optimize.passes.bf16 import Bf16
from penstock.optimize.passes.int8_careful import Int8Careful
from penstock.optimize.passes.int8_nncf import Int8Nncf
from penstock.optimize.passes.weights_nncf import WeightsNncf
from penstock.optimize.samples import Samples
from tests.optimize.models import applied, cnn, encoder, loaded, mlp, rows, source

CASES = {"x": (mlp, "logits"), "image": (cnn, "logits"), "ids": (encoder, "pooled")}


def cosine(one, other):
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize(("to", "ranges"), [("openvino", "mean"), ("openvino", "all"), ("onnx", "all")])
@pytest.mark.parametrize("inputs", CASES)
def test_int8_answers_much_as_before_on_every_engine_that_reads_it(tmp_path, inputs, to, ranges):
    model, output = CASES[inputs]
    file = model(tmp_path / "model.onnx")
    made = applied("int8-nncf", file, rows(inputs), to=to, ranges=ranges)
    assert made.engines == (("openvino",) if to == "openvino" else ("onnx", "openvino"))
    assert set(made.steps[0].versions) >= {"nncf"}
    asked = rows(inputs, 16, seed=7).groups[0]
    expected = loaded(file).run(asked)[output]
    for engine in made.engines:
        assert np.median(cosine(loaded(made.file, engine).run(asked)[output], expected)) > 0.99


def test_rows_of_several_lengths_calibrate(tmp_path):
    file = encoder(tmp_path / "model.onnx")
    wide = rows("ids", 30).groups[0]
    samples = Samples((wide, {name: array[:10, :7] for name, array in wide.items()}))
    made = applied("int8-nncf", file, samples, to="openvino", ranges="all")
    expected = loaded(file).run(wide)["pooled"]
    assert cosine(loaded(made.file, "openvino").run(wide)["pooled"], expected).min() > 0.98


def test_what_is_quantized_is_not_quantized_again(tmp_path):
    for to in ("openvino", "onnx"):
        (tmp_path / to).mkdir()
        file = cnn(tmp_path / to / "model.onnx")
        made = Path(applied("int8-nncf", file, rows("image"), to=to, ranges="all").file)
        again = replace(source(file), artefact=replace(source(file).artefact, file=str(made)))
        for each in (Int8Nncf, Int8Careful, WeightsNncf):
            assert not each().variants(again)


def test_careful_quantization_holds_the_floor_that_it_is_given(tmp_path):
    file = cnn(tmp_path / "model.onnx")
    samples = rows("image", 60)
    labels = loaded(file).run(samples.groups[0])["logits"].argmax(axis=1)
    made = applied("int8-careful", file, Samples(samples.groups, labels), max_drop=0.05)
    found = loaded(made.file, "openvino").run(samples.groups[0])["logits"].argmax(axis=1)
    assert (found != labels).mean() <= 0.1


def test_careful_quantization_wants_rows_for_both_halves(tmp_path):
    with pytest.raises(LoadFailed, match="30 rows to calibrate with are too few; it takes 40"):
        applied("int8-careful", cnn(tmp_path / "model.onnx"), rows("image", 30), max_drop=0.01)


def test_small_weights_stay_as_they_are(tmp_path):
    assert not WeightsNncf().variants(source(mlp(tmp_path / "model.onnx")))


@pytest.mark.parametrize("bits", [8, 4])
def test_large_weights_shrink_and_answers_stay_alike(tmp_path, bits):
    file = mlp(tmp_path / "model.onnx", wide=2304)
    assert {"bits": bits} in WeightsNncf().variants(source(file))
    made = applied("weights-nncf", file, rows("x"), bits=bits)
    assert made.bytes < file.stat().st_size * bits / 24
    asked = rows("x", 16, seed=7).groups[0]
    expected = loaded(file).run(asked)["logits"]
    found = loaded(made.file, "openvino").run(asked)["logits"]
    assert cosine(found, expected).min() > (0.95 if bits == 4 else 0.999)


def test_bf16_is_a_setting_and_no_file(tmp_path):
    told = source(mlp(tmp_path / "model.onnx"))
    if not Bf16().variants(told):
        pytest.skip("the processor has no bf16")
    made = Bf16().apply(told, {}, tmp_path, rows("x"))
    assert made.file == told.file
    assert (made.engines, made.settings) == (("openvino",), {"openvino": {"precision": "bf16"}})
    session = loaded(made.file, "openvino", made.settings)
    assert "bf16" in session.device


def test_a_precision_that_is_set_is_not_set_again_nor_quantized(tmp_path):
    told = source(mlp(tmp_path / "model.onnx"))
    rough = replace(told, spec=ModelSpec(name="m", openvino=OpenVino(precision="bf16")))
    for each in (Bf16, Int8Nncf, Int8Careful, WeightsNncf):
        assert not each().variants(rough)


def test_beyond_the_cpu_nothing_of_openvino_is_offered(tmp_path):
    told = replace(source(mlp(tmp_path / "model.onnx")), device="cuda:0")
    assert not any(each().variants(told) for each in (Bf16, Int8Nncf, Int8Careful, WeightsNncf))


def test_quantization_is_never_told_the_mixed_preset_nor_full_bias_correction(tmp_path):
    """With both, a sentence encoder fell to a cosine of 0.85 and nothing said so."""
    nncf = quantizing.require_nncf("int8-nncf")
    for model in (cnn, encoder):
        graph = quantizing.glance(source(model(tmp_path / f"{model.__name__}.onnx")), "int8-nncf")
        told = quantizing.told(nncf, graph)
        assert told["preset"] == nncf.QuantizationPreset.PERFORMANCE
        assert told["fast_bias_correction"] is True
        assert (told["model_type"] is not None) == (model is encoder)
