"""A small OpenVINO model: an MLP of four numbers a row, with two outputs."""

from pathlib import Path

import numpy as np


def write(folder: Path) -> Path:
    """``folder/1/model.xml`` and its ``.bin``; FP32 ``x`` [-1, 4] to ``y`` [-1, 3] and INT64 ``top`` [-1].

    Returns the file.
    """
    import openvino as ov
    from openvino import opset13 as op

    rng = np.random.default_rng(0)
    x = op.parameter([-1, 4], ov.Type.f32, name="x")
    hidden = op.relu(op.matmul(x, rng.standard_normal((4, 8), dtype=np.float32), False, False))
    y = op.softmax(op.matmul(hidden, rng.standard_normal((8, 3), dtype=np.float32), False, False), axis=-1)
    top = op.squeeze(op.topk(y, np.int32(1), -1, "max", "value", index_element_type="i64").output(1), [-1])
    x.output(0).set_names({"x"})
    y.output(0).set_names({"y"})
    top.output(0).set_names({"top"})
    path = folder / "1" / "model.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model([y.output(0), top.output(0)], [x], "small"), path, compress_to_fp16=False)
    return path
