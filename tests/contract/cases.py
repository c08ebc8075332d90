"""What the contract suite needs of each engine: its package, its models, and what it may bring along."""

import re
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks import fixtures
from penstock.core.importing import find
from penstock.core.ports import Engine, Session
from penstock.core.spec import Instances, ModelSpec
from penstock.core.tensors import Array
from penstock.engines import ENGINES, FILES
from penstock.repository.spec import read_spec


class Case(NamedTuple):
    """One engine as the suite meets it."""

    package: str = ""
    """That it cannot be had without; empty: none beside Penstock's own."""
    libraries: str = ""
    """The folder of site-packages with its native libraries, where it is not ``package``."""
    brings: tuple[str, ...] = ()
    """Engines whose frameworks this one's imports where they are installed."""
    reads: bool = True
    """Whether it looks into its file."""
    loads: int = 25
    """Times that a model is loaded and closed, to see whether memory comes back."""
    slack: float = 2e6
    """Bytes by which it may seem not to."""


CASES = {
    "echo": Case(reads=False),
    "jax": Case("jax", "jaxlib", loads=7, slack=12e6),
    "lightgbm": Case("lightgbm", brings=("sklearn",)),
    "onnx": Case("onnxruntime"),
    "openvino": Case("openvino", loads=9),
    "python": Case(),
    "sklearn": Case("sklearn"),
    "tensorrt": Case("tensorrt", loads=7),
    "torch": Case("torch", loads=7),
    "xgboost": Case("xgboost", brings=("sklearn",)),
}
INSTALLABLE = sorted(name for name in CASES if CASES[name].package and name != "onnx")
"""Those with an extra of their own."""

HEAVY = """
from typing import Annotated

import numpy as np

from penstock import FP32


class Heavy:
    def setup(self) -> None:
        self.weights = np.ones((1024, 1024), np.float32)

    def predict(self, x: Annotated[FP32, -1, 4]) -> Annotated[FP32, -1]:
        return x.sum(axis=1) + self.weights[0, 0]
"""


def engine(name: str) -> Engine:
    made: Engine = find(name, ENGINES, "engine")()
    return made


def spec_of(name: str, file: Path) -> ModelSpec:
    """As the model's folder has it, on one thread and with nothing cached."""
    spec, _ = read_spec(file.parent.parent, ModelSpec())
    return replace(spec, name=name, engine=name, instances=Instances(threads=1), cache="off")


def opened(name: str, file: Path) -> Session:
    return engine(name).open(spec_of(name, file), file.parent)


# -- models -----------------------------------------------------------------------------------------


def model(name: str, folder: Path) -> Path:
    """The file of a small model, written by tests/engines/models; skips where the engine cannot run."""
    package = CASES[name].package
    if package and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    write: Callable[[Path], Path] = import_module(f"tests.engines.models.{name}").write
    return write(folder)


def heavy(name: str, folder: Path) -> Path:
    """One with some MiB of weights, where that can be had: what stays of them would be seen."""
    written = model(name, folder)
    if name in ("onnx", "openvino"):
        return fixtures.write(folder.parent, f"{folder.name}-heavy", "1", fixtures.sized(4))
    make = {"python": _code, "torch": _network, "jax": _program, "sklearn": _neighbours} | {
        "lightgbm": _boosted_by_lightgbm,
        "xgboost": _boosted_by_xgboost,
    }
    make.get(name, lambda file: None)(written)
    return written


def _code(file: Path) -> None:
    file.write_text(HEAVY)


def _network(file: Path) -> None:
    import torch

    from tests.engines.models.torch import network, program

    torch.export.save(program(network(1 << 17)), file)


def _program(file: Path) -> None:
    from tests.engines.models.jax import export, tensor

    weights = np.ones((8, 1 << 17), np.float32)
    export(file.parent.parent, lambda x: {"y": (x @ weights).sum(1)}, tensor("b, 8"))


def _table(rows: int) -> tuple[Array, Array]:
    x = np.random.default_rng(0).standard_normal((rows, 4))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] * x[:, 2] > 0)


def _neighbours(file: Path) -> None:
    import skops.io
    from sklearn.neighbors import KNeighborsClassifier

    skops.io.dump(KNeighborsClassifier(algorithm="brute").fit(*_table(1 << 16)), file)


def _boosted_by_lightgbm(file: Path) -> None:
    import lightgbm

    settings = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbosity": -1}
    lightgbm.train(settings, lightgbm.Dataset(*_table(1000)), 150).save_model(file)


def _boosted_by_xgboost(file: Path) -> None:
    import xgboost

    settings = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    x, label = _table(1000)
    xgboost.train(settings, xgboost.DMatrix(x, label=label, nthread=1), 150).save_model(file)


def usual(name: str) -> str:
    """A name of a file that the engine reads."""
    ending = next(ending for ending, engines in FILES.items() if name in engines)
    return f"model{ending}" if ending.startswith(".") else ending


def spoilt(file: Path, which: str, damage: str, folder: Path) -> Path:
    """The file in a copy of its model's folder, where ``which`` of its version is spoilt."""
    shutil.copytree(file.parent.parent, folder)
    path = folder / file.parent.name / which
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(bytes(range(256)) * 16)
    else:
        path.write_bytes(raw[: len(raw) * int(damage.removesuffix(" %")) // 100])
    return path.with_name(file.name)


# -- what is in a process ---------------------------------------------------------------------------


def forget(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has imports of a package fail, whether it is imported already or not."""
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)


def brought(pid: int) -> set[str]:
    """Engines whose frameworks' native libraries a process has mapped."""
    maps = Path(f"/proc/{pid}/maps")
    if not maps.exists():
        pytest.skip("the system does not tell which libraries a process has")
    folders = set(re.findall(r"/(?:site|dist)-packages/(\w+)/", maps.read_text()))
    return {name for name, case in CASES.items() if (case.libraries or case.package) in folders}
