"""A model beside what the pass ``trees`` makes of it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.importing import find
from penstock.core.ports import Session
from penstock.core.spec import Instances, ModelSpec
from penstock.core.types import Tensors
from penstock.engines import ENGINES
from penstock.engines.onnx import OnnxEngine
from penstock.optimize.passes import Made, Source
from penstock.optimize.passes.trees import Trees
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact, Options

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((400, 5)).astype(np.float32)
NOISE = DRAW.standard_normal(400) * 0.5
BINARY = (X[:, 0] * X[:, 1] + NOISE > 0).astype(int)
THREE = BINARY + (X[:, 2] > 0.7)
NUMBER = X[:, 0] ** 2 + X[:, 1] + NOISE
FRESH = DRAW.standard_normal((1000, 5)).astype(np.float32)
HOLES = np.where(DRAW.random(FRESH.shape) < 0.2, np.float32(np.nan), FRESH)
HOLES[::7] = 0
GAPS = np.where(np.abs(X) < 0.1, np.float32(np.nan), X)
"""To train on."""
PLAIN = ModelSpec(name="m", instances=Instances(threads=1))


def opened(file: Path, engine: str, spec: ModelSpec = PLAIN) -> tuple[Source, Session]:
    session: Session = find(engine, ENGINES, "engine")().open(spec, file)
    artefact = Artefact(name="source", file=str(file), engines=(engine,))
    return Source(artefact=artefact, spec=spec, signature=session.signature), session


def apply(source: Source, options: Options, inputs: Tensors) -> Made:
    out = source.file.parent / "-".join(["out", *map(str, options.values())])
    out.mkdir()
    with warnings.catch_warnings():  # as in the child that it runs in
        warnings.simplefilter("ignore")
        return Trees().apply(source, options, out, Samples((inputs,)))


def disagreements(
    file: Path, engine: str, inputs: Tensors, spec: ModelSpec = PLAIN, options: Options | None = None
) -> tuple[Made, dict[str, float]]:
    """Of each output the greatest error (to the size of what is right, or to one), or labels that differ.

    Signatures, datatypes and shapes are the same.
    """
    source, session = opened(file, engine, spec)
    made = apply(source, options or {}, inputs)
    other = OnnxEngine().open(ModelSpec(), made.file)
    assert session.signature == other.signature
    want, have = session.run(inputs), other.run(inputs)
    assert {name: (array.dtype, array.shape) for name, array in want.items()} == {
        name: (array.dtype, array.shape) for name, array in have.items()
    }
    return made, {name: _apart(array, have[name]) for name, array in want.items()}


def _apart(want: Any, have: Any) -> float:
    if want.dtype.kind == "f":
        return float(np.max(np.abs(want - have) / (1 + np.abs(want))))
    if want.dtype == object:
        want = np.array([text.decode() for text in want.flat], object).reshape(want.shape)
    return float(np.sum(want != have))
