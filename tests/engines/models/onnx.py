"""A small classifier as an ONNX file."""

from pathlib import Path

from benchmarks import fixtures


def write(folder: Path) -> Path:
    """``x`` FP32 [-1, 32] → ``y`` FP32 [-1, 10]; returns ``folder/1/model.onnx``."""
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(fixtures.tiny())
    return path
