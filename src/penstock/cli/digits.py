"""The example's models: classifiers of scikit-learn's bundled digits, trained in seconds, as ONNX."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from penstock.core.errors import BadSetting
from penstock.engines.require import onnxruntime

PIXELS = 64
_OPSET = 18
"""Read by every ONNX Runtime since 1.14."""


class Digits(Struct, frozen=True, eq=False):
    """8 × 8 grey images as float32 [N, 64] of 0 to 16, and their digits; a quarter is held out."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


class Recipe(Struct, frozen=True):
    """How one version of one model is made."""

    model: str
    version: str
    kind: str
    make: Callable[[], Any]
    """An untrained scikit-learn classifier."""


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _mlp(hidden: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((hidden,), max_iter=500, tol=1e-3, random_state=0)


RECIPES = (
    Recipe("digits-linear", "1", "logistic regression", _linear),
    Recipe("digits-mlp", "1", "MLP, 8 hidden units", lambda: _mlp(8)),
    Recipe("digits-mlp", "2", "MLP, 128 hidden units", lambda: _mlp(128)),
)


def digits() -> Digits:
    """The data, split the same way each time. Raises BadSetting without the packages for it."""
    try:
        import skl2onnx  # noqa: F401 - found missing here, before anything is trained
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise BadSetting(
            f"the example repository needs scikit-learn and skl2onnx ({error}); "
            "pip install 'penstock[examples]'"
        ) from None
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(
        images.astype(np.float32), labels.astype(np.int64), test_size=0.25, stratify=labels, random_state=0
    )
    return Digits(split[0], split[2], split[1], split[3])


def train(recipe: Recipe, data: Digits) -> bytes:
    """The trained model as ONNX: ``image`` to ``label`` and ``probabilities``; the same bytes each time."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler
    from threadpoolctl import threadpool_limits

    pipeline = make_pipeline(MinMaxScaler(), recipe.make())
    # One thread: for products this small, several threads mostly wait for each other.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(data.train_images, data.train_labels)
        exported = to_onnx(
            pipeline,
            initial_types=[("image", FloatTensorType([None, PIXELS]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset=_OPSET,
        )
    return bytes(exported.SerializeToString())


def accuracy(model: bytes, data: Digits) -> float:
    """Share of the held-out images that the exported model gets right, run by ONNX Runtime."""
    session = onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
    (labels,) = session.run(["label"], {"image": data.test_images})
    return float(np.mean(labels == data.test_labels))


def samples(data: Digits) -> Mapping[int, NDArray[np.float32]]:
    """The first held-out image of each digit, as [1, 64]."""
    first = {digit: int(np.argmax(data.test_labels == digit)) for digit in range(10)}
    return {digit: data.test_images[i : i + 1] for digit, i in first.items()}
