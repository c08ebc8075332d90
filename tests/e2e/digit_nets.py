"""Networks that read digits, trained in a second: honest ones, and such as no rollout must let through."""

from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from benchmarks import fixtures

DIGITS = load_digits()
IMAGES = DIGITS.data.astype(np.float32)
LABELS = DIGITS.target


@cache
def _trained(hidden: int) -> MLPClassifier:
    """On the first half of the images."""
    return MLPClassifier((hidden,), max_iter=400, tol=1e-3, random_state=0).fit(IMAGES[::2], LABELS[::2])


def net(hidden: int = 64, *, slow: int = 0, odd: int = 0) -> bytes:
    """image [n, 64] to probabilities [n, 10].

    ``slow``: so many products of 512 × 512 for nothing; ``odd``: another best class for the images whose
    brightness is a multiple of it.
    """
    (w1, w2), (b1, b2) = _trained(hidden).coefs_, _trained(hidden).intercepts_
    weights = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    nodes = [
        helper.make_node("MatMul", ["image", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b1"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["d"]),
        helper.make_node("Add", ["d", "b2"], ["logits"]),
    ]
    last = "logits"
    if slow:
        weights |= {"up": np.full((10, 512), 1e-3), "turn": np.eye(512), "down": np.zeros((512, 10))}
        nodes.append(helper.make_node("MatMul", [last, "up"], ["t0"]))
        nodes += [helper.make_node("MatMul", [f"t{at}", "turn"], [f"t{at + 1}"]) for at in range(slow)]
        nodes.append(helper.make_node("MatMul", [f"t{slow}", "down"], ["nothing"]))
        nodes.append(helper.make_node("Add", [last, "nothing"], ["slowly"]))
        last = "slowly"
    nodes.append(helper.make_node("Softmax", [last], ["right" if odd else "probabilities"], axis=1))
    constants = []
    if odd:
        weights["swap"] = np.roll(np.eye(10), 1, axis=0)
        constants = [
            numpy_helper.from_array(np.array(odd, np.int64), "odd"),
            numpy_helper.from_array(np.array(0, np.int64), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ]
        nodes += [
            helper.make_node("MatMul", ["right", "swap"], ["wrong"]),
            helper.make_node("ReduceSum", ["image", "axis"], ["light"], keepdims=1),
            helper.make_node("Cast", ["light"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Mod", ["whole", "odd"], ["rest"]),
            helper.make_node("Equal", ["rest", "zero"], ["hit"]),
            helper.make_node("Where", ["hit", "wrong", "right"], ["probabilities"]),
        ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        + constants,
    )
    opset = [helper.make_opsetid("", fixtures.OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=fixtures.IR_VERSION).SerializeToString()


CRASHING = '''
import os
from typing import Annotated

import numpy as np

from penstock import FP32


class Crashing:
    """Ends its process in one of fifty batches."""

    runs = 0

    def predict(self, image: Annotated[FP32, -1, 64]) -> Annotated[FP32, "probabilities", -1, 10]:
        Crashing.runs += 1
        if image.any() and Crashing.runs % 50 == 0:
            os._exit(3)
        return np.full((len(image), 10), 0.1, np.float32)
'''

INFINITE = CRASHING.replace("os._exit(3)", "return np.full((len(image), 10), np.nan, np.float32)")
"""NaN instead."""

HANGING = """
import time
from typing import Annotated

import numpy as np

from penstock import FP32


class Hanging:
    \"\"\"Sleeps for ever on one of five images, which a warm-up does not know.\"\"\"

    def predict(self, image: Annotated[FP32, -1, 64]) -> Annotated[FP32, "probabilities", -1, 10]:
        real = image.any(1) & (image == image.round()).all(1)
        if (real & (image.sum(1) % 5 == 0)).any():
            time.sleep(3600)
        return np.full((len(image), 10), 0.1, np.float32)
"""
