"""A sentence encoder of the BERT family as an ONNX file: token ids to mean-pooled, normalised embeddings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9  # opset 17's own, so that older runtimes read the file too
MASKED = -1e4
"""Added to the scores of padding; exp() of it is 0, and FP16 holds it."""


def encoder(config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The file; ``config`` and ``weights`` as in config.json and model.safetensors.

    INT64 ``ids`` and ``mask`` [-1, -1] to FP32 ``embedding`` [-1, hidden_size].
    Raises ValueError for another kind of network, and KeyError where a weight is missing.
    """
    plain = (config["model_type"], config["hidden_act"], config.get("position_embedding_type", "absolute"))
    if plain != ("bert", "gelu", "absolute"):
        raise ValueError(f"this is for BERT with gelu and absolute positions, not {plain}")
    graph = _Graph(config, {name.removeprefix("bert."): value for name, value in weights.items()})
    x = graph.embed()
    for layer in range(config["num_hidden_layers"]):
        x = graph.layer(f"encoder.layer.{layer}", x)
    graph.pool(x)
    return graph.model()


class _Graph:
    """Nodes in the making; methods take and give the names of values."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._wide = config["hidden_size"]
        self._heads = config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        keep = self.add("Cast", "mask", to=TensorProto.FLOAT)
        self._keep = self.add("Unsqueeze", keep, self.constant([-1]))  # [batch, tokens, 1]
        hidden = self.add("Sub", self.constant(1.0), self.add("Unsqueeze", keep, self.constant([1, 2])))
        self._bias = self.add("Mul", hidden, self.constant(MASKED))  # [batch, 1, 1, tokens]

    # -- parts of the network --------------------------------------------------------------------

    def embed(self) -> str:
        words = self.add("Gather", self.weight("embeddings.word_embeddings.weight"), "ids")
        length = self.add("Slice", self.add("Shape", "ids"), self.constant([1]), self.constant([2]))
        places = self.weight("embeddings.position_embeddings.weight")
        places = self.add("Slice", places, self.constant([0]), length, self.constant([0]))
        kind = self.constant(self._weights["embeddings.token_type_embeddings.weight"][0])
        return self.norm("embeddings.LayerNorm", self.add("Add", self.add("Add", words, places), kind))

    def layer(self, name: str, x: str) -> str:
        seen = self.dense(f"{name}.attention.output.dense", self.attend(f"{name}.attention.self", x))
        x = self.norm(f"{name}.attention.output.LayerNorm", self.add("Add", seen, x))
        inner = self.gelu(self.dense(f"{name}.intermediate.dense", x))
        out = self.dense(f"{name}.output.dense", inner)
        return self.norm(f"{name}.output.LayerNorm", self.add("Add", out, x))

    def attend(self, name: str, x: str) -> str:
        query = self.split(self.dense(f"{name}.query", x), (0, 2, 1, 3))
        key = self.split(self.dense(f"{name}.key", x), (0, 2, 3, 1))
        value = self.split(self.dense(f"{name}.value", x), (0, 2, 1, 3))
        scale = self.constant((self._wide // self._heads) ** -0.5)
        scores = self.add("Mul", self.add("MatMul", query, key), scale)
        shares = self.add("Softmax", self.add("Add", scores, self._bias), axis=-1)
        seen = self.add("Transpose", self.add("MatMul", shares, value), perm=(0, 2, 1, 3))
        return self.add("Reshape", seen, self.constant([0, 0, self._wide]))

    def split(self, x: str, order: tuple[int, ...]) -> str:
        """[batch, tokens, wide] into heads, whose axes come in this order."""
        shape = self.constant([0, 0, self._heads, self._wide // self._heads])
        return self.add("Transpose", self.add("Reshape", x, shape), perm=order)

    def dense(self, name: str, x: str) -> str:
        product = self.add("MatMul", x, self.weight(f"{name}.weight", turned=True))
        return self.add("Add", product, self.weight(f"{name}.bias"))

    def norm(self, name: str, x: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=self._epsilon)

    def gelu(self, x: str) -> str:
        error = self.add("Erf", self.add("Div", x, self.constant(2**0.5)))
        half = self.add("Mul", x, self.constant(0.5))
        return self.add("Mul", half, self.add("Add", error, self.constant(1.0)))

    def pool(self, x: str) -> None:
        """The mean over what is no padding, of length 1."""
        total = self.add("ReduceSum", self.add("Mul", x, self._keep), self.constant([1]), keepdims=0)
        count = self.add("ReduceSum", self._keep, self.constant([1]), keepdims=0)
        mean = self.add("Div", total, self.add("Max", count, self.constant(1e-9)))
        length = self.add("Max", self.add("ReduceL2", mean, axes=[-1]), self.constant(1e-12))
        self.add("Div", mean, length, out="embedding")

    # -- values ----------------------------------------------------------------------------------

    def add(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def weight(self, name: str, *, turned: bool = False) -> str:
        values = self._weights[name].astype(np.float32)
        return self.keep(name, np.ascontiguousarray(values.T) if turned else values)

    def constant(self, value: Any) -> str:
        """Whole numbers are INT64, others FP32."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        return self.keep(f"c{len(self._constants)}", array)

    def keep(self, name: str, array: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def model(self) -> bytes:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("ids", "mask")
        ]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", self._wide])]
        graph = helper.make_graph(self._nodes, "encoder", inputs, outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        data: bytes = made.SerializeToString()
        return data
