"""Offline optimization: the graph as ONNX Runtime would fuse it at every load, saved once."""

from collections.abc import Sequence
from pathlib import Path

from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

LEVEL = "ORT_ENABLE_EXTENDED"
"""Not ORT_ENABLE_ALL, which lays weights out for this very processor's vectors (NCHWc) and would save
that, while a variant may be moved; at load all levels are run again, and that one is all they still find."""


class Offline:
    """For ONNX Runtime alone, whose own operators the file has."""

    stage = "offline"

    def variants(self, source: Source, /) -> Sequence[Options]:
        if graph.glance(source, "offline") is None or source.did("offline"):
            return ()
        return ({},) if "onnx" in source.artefact.engines else ()

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        model = graph.rewritten(source.file, LEVEL)
        graph.keep_interface(model, graph.read(source.file))
        return Made(file=graph.write(model, out), engines=("onnx",), packages=("onnx", "onnxruntime"))
