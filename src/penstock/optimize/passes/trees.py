"""scikit-learn's estimators and boosted trees as ONNX, inputs and outputs as their engines have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec
from penstock.engines.onnx import OnnxEngine
from penstock.optimize.passes import Made, Source
from penstock.optimize.passes.graph import require_onnx
from penstock.optimize.samples import Samples, length
from penstock.optimize.types import Options

if TYPE_CHECKING:
    from penstock.optimize.passes.trees_graph import Graph

TRIED = 3
"""Rows that are run once, to see what comes out."""
DOUBLES: Mapping[str, tuple[str, ...]] = {"sklearn": ("fp64", "fp32"), "lightgbm": ("fp64", "fp32")}
"""By engine, in what it may compute where inputs are FP64; XGBoost rounds them to FP32 itself."""
ENGINES = ("sklearn", "xgboost", "lightgbm")


class Trees:
    """``floats``: what is computed in where inputs are FP64, as they come or rounded to FP32."""

    stage = "convert"

    def variants(self, source: Source, /) -> Sequence[Options]:
        engine = _engine(source)
        if not engine:
            return ()
        require_onnx("trees")
        if engine == "sklearn":
            from penstock.optimize.passes.trees_sklearn import require_skl2onnx

            require_skl2onnx()
        wide = any(each.datatype == "FP64" for each in source.signature.inputs)
        return [{"floats": floats} for floats in DOUBLES.get(engine, ())] if wide else [{}]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed for what is not converted, or comes out of it otherwise than the original."""
        graph = _convert(source, options.get("floats", "") == "fp64")
        file = graph.write(source.signature, out)
        _check(source, file, samples)
        text = any(each.datatype == "BYTES" for each in (*source.signature.inputs, *source.signature.outputs))
        packages = ("onnx", "skl2onnx") if _engine(source) == "sklearn" else ("onnx",)
        return Made(file=file, engines=() if graph.plain and not text else ("onnx",), packages=packages)


def _engine(source: Source) -> str:
    """Which of those that it converts from reads the file; empty where none does."""
    return next((engine for engine in source.artefact.engines if engine in ENGINES), "")


def _convert(source: Source, doubles: bool) -> "Graph":
    from penstock.optimize.passes.trees_boosted import write_boosted

    match _engine(source):
        case "sklearn":
            from penstock.optimize.passes.trees_sklearn import convert

            return convert(source, doubles)
        case "xgboost":
            from penstock.optimize.passes.trees_xgboost import read_xgboost

            return write_boosted(read_xgboost(source), source.signature)
        case "lightgbm":
            from penstock.optimize.passes.trees_lightgbm import read_lightgbm

            return write_boosted(read_lightgbm(source, doubles), source.signature)
        case _:
            raise LoadFailed(f"pass 'trees' reads models of {', '.join(ENGINES)}, not {source.file.name}")


def _check(source: Source, file: Path, samples: Samples) -> None:
    """Raises LoadFailed where signature or shapes are not the original's."""
    session = OnnxEngine().open(ModelSpec(device="cpu"), file)
    try:
        if session.signature != source.signature:
            raise LoadFailed(f"it has come out as {session.signature}; the original is {source.signature}")
        for group in samples.groups[:1]:
            rows = min(TRIED, length(group))
            given = session.run({name: np.asarray(array[:rows]) for name, array in group.items()})
            for spec in source.signature.outputs:
                if given[spec.name].shape != (rows, *spec.shape[1:]):
                    raise LoadFailed(
                        f"output {spec.name!r} has come out as {list(given[spec.name].shape)} for "
                        f"{rows} rows; the original's is {list(spec.shape)}"
                    )
    finally:
        session.close()
