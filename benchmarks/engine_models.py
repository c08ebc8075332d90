"""MEDIUM with one set of weights in every framework's own file, and small models for tables."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import fixtures

Array = NDArray[Any]
IMAGE = (3, 64, 64)
COLUMNS = 30
"""Of the table that scikit-learn brings along (breast cancer, 569 rows, two classes)."""
TREES = 100


@dataclass(frozen=True)
class Kind:
    """A framework and a file of its own; ``settings`` are lines of model.toml."""

    name: str
    packages: tuple[str, ...]
    file: str
    write: Callable[[Path], None]
    settings: str = ""
    table: bool = False
    """Whether it is a small model of a table, and not MEDIUM."""
    cuda: str = ""
    """The engine's word for NVIDIA's devices, where it has them."""

    @property
    def missing(self) -> str:
        """What is to be installed before it can run; empty where all is there."""
        absent = [name for name in self.packages if find_spec(name) is None]
        return f"{' and '.join(absent)} not installed" if absent else ""


def lay(kind: Kind, model: Path, device: str) -> Path:
    """The model's folder in a repository, with one instance of one thread; returns the model's file."""
    path = model / "1" / kind.file
    path.parent.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated, say
        kind.write(path)
    instances = "[instances]\ncount = 1\nthreads = 1\n"
    (model / "model.toml").write_text(f'device = "{device}"\n{instances}{kind.settings}')
    return path


def rows(kind: Kind, count: int) -> Array:
    """Seeded input of ``count`` rows, as float32."""
    shape = (count, COLUMNS) if kind.table else (count, *IMAGE)
    return np.random.default_rng(1).random(shape).astype(np.float32)


# -- MEDIUM -----------------------------------------------------------------------------------------


def weights() -> list[Array]:
    """MEDIUM's, in the order of its layers: eight convolutions, then a matrix and a bias."""
    import onnx

    graph = onnx.load_from_string(fixtures.medium()).graph
    return [onnx.numpy_helper.to_array(each) for each in graph.initializer]


def _onnx(path: Path) -> None:
    path.write_bytes(fixtures.medium())


def _openvino(path: Path) -> None:
    import openvino as ov

    source = path.with_suffix(".onnx")
    source.write_bytes(fixtures.medium())
    ov.save_model(ov.convert_model(source), path, compress_to_fp16=False)
    source.unlink()


def network() -> Any:
    """MEDIUM as an ``nn.Module`` from ``x`` to ``y``."""
    import torch

    class Medium(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow PyTorch
        def __init__(self, given: Sequence[Array]) -> None:
            super().__init__()
            *kernels, matrix, bias = (torch.from_numpy(each.copy()) for each in given)
            layers: list[Any] = []
            for i, kernel in enumerate(kernels):
                wide, deep = kernel.shape[:2]
                conv = torch.nn.Conv2d(deep, wide, 3, stride=1 + (i % 2 == 0), padding=1, bias=False)
                conv.weight.data = kernel
                layers += [conv, torch.nn.ReLU()]
            dense = torch.nn.Linear(*matrix.shape)
            dense.weight.data, dense.bias.data = matrix.T.contiguous(), bias
            layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), dense, torch.nn.Softmax(-1)]
            self.layers = torch.nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": self.layers(x)}

    return Medium(weights()).eval().requires_grad_(False)


def _torchscript(path: Path) -> None:
    import torch

    torch.jit.trace(network(), torch.zeros(2, *IMAGE), strict=False).save(path)


def _exported(path: Path) -> None:
    import torch

    batch = {"x": {0: torch.export.Dim("rows")}}
    torch.export.save(torch.export.export(network(), (torch.zeros(2, *IMAGE),), dynamic_shapes=batch), path)


def _jax(path: Path) -> None:
    import jax
    from jax import export

    *kernels, matrix, bias = weights()

    def medium(x: Any) -> dict[str, Any]:
        for i, kernel in enumerate(kernels):
            stride = 1 + (i % 2 == 0)
            x = jax.nn.relu(jax.lax.conv(x, kernel, (stride, stride), [(1, 1), (1, 1)]))
        return {"y": jax.nn.softmax(x.mean((2, 3)) @ matrix + bias)}

    shape = export.symbolic_shape("rows, 3, 64, 64")
    there = {device.platform for device in jax.devices()}
    platforms = ["cpu", *(["cuda"] if "gpu" in there else [])]
    traced = export.export(jax.jit(medium), platforms=platforms)
    path.write_bytes(traced(jax.ShapeDtypeStruct(shape, np.float32)).serialize())


# -- tables -----------------------------------------------------------------------------------------


def _table() -> tuple[Array, Array]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x.astype(np.float32), y


def _sklearn(path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(*_table()), path)


def _xgboost(path: Path) -> None:
    import xgboost

    x, y = _table()
    settings = {"objective": "binary:logistic", "nthread": 1}
    xgboost.train(settings, xgboost.DMatrix(x, label=y, nthread=1), TREES).save_model(path)


def _lightgbm(path: Path) -> None:
    import lightgbm

    x, y = _table()
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    lightgbm.train(settings, lightgbm.Dataset(x, y), TREES).save_model(path)


_IMAGES = '[[inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [-1, 3, 64, 64]\n'

KINDS = (
    Kind("onnx", ("onnxruntime",), "model.onnx", _onnx, cuda="cuda"),
    Kind("openvino", ("openvino",), "model.xml", _openvino),
    Kind("torchscript", ("torch",), "model.pt", _torchscript, _IMAGES, cuda="cuda"),
    Kind("torch-export", ("torch",), "model.pt2", _exported, cuda="cuda"),
    Kind("jax", ("jax",), "model.stablehlo", _jax, cuda="cuda"),
    Kind("sklearn", ("sklearn", "skops"), "model.skops", _sklearn, table=True),
    Kind("xgboost", ("xgboost", "sklearn"), "model.json", _xgboost, table=True),
    Kind("lightgbm", ("lightgbm", "sklearn"), "model.txt", _lightgbm, table=True),
)
