from pathlib import Path

import numpy as np
import pytest

from tests.optimize.models import applied, encoder, kinds, loaded, mlp, offers, rows

WIDE = 2048
"""A matrix of which is 16 MiB large."""


@pytest.mark.parametrize(("bits", "share", "near"), [(8, 0.4, 0.05), (4, 0.2, 0.4)])
def test_matrices_are_stored_in_few_bits_and_rows_stay_independent(tmp_path, bits, share, near):
    file = mlp(tmp_path / "model.onnx", wide=WIDE)
    assert offers("weights-onnx", file) == [{"bits": 8}, {"bits": 4}]
    made = applied("weights-onnx", file, rows("x"), bits=bits)
    assert made.engines == ("onnx",)
    assert kinds(made.file)["com.microsoft:MatMulNBits"] == 3
    assert Path(made.file).stat().st_size < share * file.stat().st_size
    session = loaded(made.file)
    asked = rows("x", 4, seed=7).groups[0]["x"]
    answer = session.run({"x": asked})["logits"]
    np.testing.assert_allclose(answer, loaded(file).run({"x": asked})["logits"], atol=near)
    together = session.run({"x": np.concatenate([asked, 100 * asked])})["logits"][:4]
    np.testing.assert_allclose(together, answer, atol=1e-4)
    assert offers("weights-onnx", made.file) == []


def test_small_matrices_are_offered_nothing(tmp_path):
    assert offers("weights-onnx", mlp(tmp_path / "mlp.onnx")) == []
    assert offers("weights-onnx", encoder(tmp_path / "encoder.onnx")) == []
