"""ONNX graphs written node by node, from a served model's inputs to its outputs as its signature has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.spec import Signature, TensorSpec
from penstock.core.tensors import dtype_of
from penstock.engines.tabular import Rows
from penstock.optimize.passes.graph import write

OPSETS: Mapping[str, int] = {"": 21, "ai.onnx.ml": 3}
IR_VERSION = 10
"""As old as ONNX Runtime 1.20 and OpenVINO 2025 read, and as new as the converters need."""


class Graph:
    """Nodes and constants so far; every ``add`` gives the name of a fresh value."""

    def __init__(self, prefix: str = "n/") -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opsets = dict(OPSETS)
        self._prefix = prefix

    def add(self, op: str, *inputs: str, domain: str = "", out: str = "", **attributes: Any) -> str:
        """One node with one output, named ``out`` or anew."""
        from onnx import helper

        name = out or f"{self._prefix}{op}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [name], name=name, domain=domain or None, **attributes)
        )
        return name

    def constant(self, values: Any, dtype: Any = None) -> str:
        from onnx import numpy_helper

        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def cast(self, value: str, datatype: str, out: str = "") -> str:
        """``datatype`` is V2's name."""
        return self.add("Cast", value, to=kind(datatype), out=out)

    def shaped(self, value: str, shape: Sequence[int], out: str = "") -> str:
        return self.add("Reshape", value, self.constant(shape, np.int64), out=out)

    def matrix(self, rows: Rows, datatype: str) -> str:
        """All inputs as one matrix [rows, columns]."""
        if not rows.columns:
            return self.cast(rows.inputs[0].name, datatype)
        columns = [self.cast(self.shaped(name, (-1, 1)), datatype) for name in rows.columns]
        return self.add("Concat", *columns, axis=1)

    def give(self, value: str, spec: TensorSpec, datatype: str = "", rank: int = 0) -> None:
        """``value`` as the output ``spec``; what is known to be right of it already is left as it is."""
        if rank != len(spec.shape):
            value = self.shaped(value, (-1, *spec.shape[1:]))
        if datatype == spec.datatype:
            self.add("Identity", value, out=spec.name)
        else:
            self.cast(value, spec.datatype, out=spec.name)

    def write(self, signature: Signature, out: Path) -> Path:
        """``model.onnx`` in the folder."""
        from onnx import helper

        graph = helper.make_graph(
            self.nodes,
            "penstock",
            [_told(each) for each in signature.inputs],
            [_told(each) for each in signature.outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="penstock"
        )
        return write(model, out)

    @property
    def plain(self) -> bool:
        """Whether ONNX's own operators are enough, which is what OpenVINO has."""
        return all(not node.domain for node in self.nodes)


def kind(datatype: str) -> int:
    """ONNX's number of a V2 datatype."""
    from onnx import TensorProto, helper

    text = datatype == "BYTES"
    return int(TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(np.dtype(dtype_of(datatype))))


def _told(spec: TensorSpec) -> Any:
    from onnx import helper

    sizes = [
        size if size >= 0 else f"{spec.name}_{at}" if at else "rows" for at, size in enumerate(spec.shape)
    ]
    return helper.make_tensor_value_info(spec.name, kind(spec.datatype), sizes)
