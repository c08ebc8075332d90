"""What the values of a gradient booster mean: labels, probabilities or numbers, by its objective."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from penstock.core.spec import TensorSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors
from penstock.engines.tabular import Answer, Rows

Predict = Callable[[Array], Array]
_HALF = 0.5

PAIR = ("binary:logistic", "binary")
"""Objectives that give the probability of class 1, of each label where there are several."""
CLASSES = ("multi:softprob", "multiclass", "multiclassova")
"""Objectives that give a probability for each class."""
LABELS = ("multi:softmax", "binary:hinge")
"""Objectives that give the label itself."""


class Meaning(Struct, frozen=True):
    """Of an objective whose values for a row have shape ``tail``, in ``datatype``."""

    objective: str
    datatype: str
    tail: tuple[int, ...]

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """``predict``, and ``predict_proba`` for classifiers."""
        if self.objective in CLASSES:
            return _labels(()), TensorSpec("predict_proba", self.datatype, (-1, *self.tail))
        if self.objective in PAIR:
            return _labels(self.tail), TensorSpec("predict_proba", self.datatype, (-1, *(self.tail or (2,))))
        if self.objective in LABELS:
            return (_labels(self.tail),)
        return (TensorSpec("predict", self.datatype, (-1, *self.tail)),)

    def predict(self, values: Array) -> Array:
        if self.objective in CLASSES:
            most: Array = np.argmax(values, axis=1)
            return most.astype(np.int64)
        if self.objective in PAIR:
            return (values > _HALF).astype(np.int64)
        return values.astype(np.int64) if self.objective in LABELS else values

    def predict_proba(self, values: Array) -> Array:
        pair = self.objective in PAIR and not self.tail
        return np.stack((1 - values, values), axis=1) if pair else values


def _labels(tail: tuple[int, ...]) -> TensorSpec:
    return TensorSpec("predict", "INT64", (-1, *tail))


def answers(rows: Rows, predict: Predict, meaning: Meaning, whole: type[np.floating]) -> Answer:
    """One run of the trees for all that is asked; other numbers than FP32 and FP64 become ``whole``."""

    def answer(inputs: Tensors, names: Sequence[str]) -> Tensors:
        x = rows.matrix(inputs)
        x = x if x.dtype in (np.float32, np.float64) else x.astype(whole)
        values = predict(x) if len(x) else np.empty(0, dtype_of(meaning.datatype))
        values = values.reshape(len(x), *meaning.tail)
        made = {"predict": meaning.predict, "predict_proba": meaning.predict_proba}
        return {name: made[name](values) for name in names}

    return answer
