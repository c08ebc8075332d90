"""Clean-up of ONNX graphs: constants folded, needless nodes dropped, in operators that every engine has."""

from collections.abc import Sequence
from pathlib import Path

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples


class Clean:
    """Keeps to standard operators: what ONNX Runtime fuses by itself at load needs no file of its own."""

    stage = "clean"

    def variants(self, source: Source, /) -> Sequence[Options]:
        if graph.glance(source, "clean") is None or source.did("clean", "fuse"):
            return ()
        return ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where no node less would be left."""
        before = graph.read(source.file)
        model = graph.rewritten(source.file, "ORT_ENABLE_BASIC")
        if graph.operators(model) == graph.operators(before):
            raise LoadFailed(f"nothing to clean: {source.file.name} has no node that could be left out")
        graph.keep_interface(model, before)
        return Made(file=graph.write(model, out), packages=("onnx", "onnxruntime"))
