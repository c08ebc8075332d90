import numpy as np
import onnx

from tests.optimize.models import applied, cnn, encoder, loaded, offers, rows


def test_weights_become_halves_and_the_interface_stays_single(tmp_path):
    file = encoder(tmp_path / "model.onnx", tokens_out=True)
    made = applied("fp16", file, rows("ids"))
    kinds = {each.data_type for each in onnx.load(made.file).graph.initializer if len(each.dims) > 1}
    assert onnx.TensorProto.FLOAT not in kinds
    assert onnx.TensorProto.FLOAT16 in kinds
    asked = rows("ids", 5).groups[0]
    for name, expected in loaded(file).run(asked).items():
        answer = loaded(made.file).run(asked)[name]
        np.testing.assert_allclose(answer, expected, atol=2e-2)


def test_it_is_offered_beyond_the_cpu_alone_and_once(tmp_path):
    file = cnn(tmp_path / "model.onnx")
    assert offers("fp16", file) == []
    assert offers("fp16", file, device="cuda:0") == [{}]
    made = applied("fp16", file, rows("image"))
    assert offers("fp16", made.file, device="cuda:0") == []
