"""What a scikit-learn estimator takes and gives, and how many threads it may use."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy as np
from msgspec import Struct

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed, one_line
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec, TensorSpec
from penstock.core.tensors import Array, datatype_of, dtype_of
from penstock.core.types import Tensors
from penstock.engines.require import require
from penstock.engines.tabular import NUMBERS, Rows, labels, plain, plan_rows

METHODS = (
    *("predict", "predict_proba", "predict_log_proba", "decision_function"),
    *("score_samples", "transform"),
)
"""What may be an output, by the estimator's own names."""
_TRIED = 2


class Feed(Struct, frozen=True):
    """From inputs to what the estimator's methods take."""

    rows: Rows
    names: tuple[str, ...] = ()
    """Columns of the DataFrame that it was fitted on; empty: it takes an array."""
    text: bool = False
    """It takes a list of ``str``."""

    def __call__(self, inputs: Tensors) -> Any:
        if self.text:
            only = self.rows.inputs[0].name
            return plain(only, inputs[only]).tolist()
        if not self.names:
            return self.rows.matrix(inputs)
        pandas = require("pandas", "pandas", "sklearn")
        if not self.rows.columns:
            return pandas.DataFrame(self.rows.matrix(inputs), columns=list(self.names), copy=False)
        return pandas.DataFrame(dict(zip(self.names, self.rows.series(inputs), strict=True)), copy=False)

    def made_up(self) -> Tensors:
        """Zeros and empty texts."""
        return {
            spec.name: np.full([_TRIED, *(max(size, 1) for size in spec.shape[1:])], b"", object)
            if spec.datatype == "BYTES"
            else np.zeros([_TRIED, *(max(size, 1) for size in spec.shape[1:])], dtype_of(spec.datatype))
            for spec in self.rows.inputs
        }


def plan_feed(spec: ModelSpec, model: Any) -> Feed:
    """One matrix ``x``, or one vector of texts, unless ``spec.inputs`` has it otherwise."""
    first = _first(model)
    if _is_text(first):
        return Feed(Rows(_texts(spec)), text=True)
    columns = int(getattr(model, "n_features_in_", -1))
    names = tuple(map(str, getattr(model, "feature_names_in_", ())))
    rows = plan_rows(spec, columns, names, _usual(first), (*NUMBERS, "BYTES"))
    if names:
        require("pandas", "pandas", "sklearn")
    return Feed(rows, names)


def _first(model: Any) -> Any:
    """What sees the inputs first: of a pipeline its first step, of a search its best estimator."""
    while True:
        inner = getattr(model, "best_estimator_", None)
        steps = getattr(model, "steps", None) or getattr(model, "transformer_list", None)
        if inner is None and steps:
            inner = steps[0][1]
        if inner is None or isinstance(inner, str):
            return model
        model = inner


def _is_text(first: Any) -> bool:
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

    return isinstance(first, (CountVectorizer, HashingVectorizer))


def _texts(spec: ModelSpec) -> tuple[TensorSpec, ...]:
    declared = spec.inputs or (TensorSpec("x", "BYTES", (-1,)),)
    if [(each.datatype, each.shape) for each in declared] != [("BYTES", (-1,))]:
        raise BadSetting("the model takes one vector of texts: declare one input, BYTES of shape [-1]")
    return declared


def _usual(first: Any) -> str:
    """FP32 for what computes in it: trees, and estimators that were fitted on it."""
    from sklearn.ensemble import BaseEnsemble
    from sklearn.tree import BaseDecisionTree

    trees = getattr(first, "estimators_", [None]) if isinstance(first, BaseEnsemble) else [first]
    if all(isinstance(tree, BaseDecisionTree) for tree in np.ravel(np.asarray(trees, object))):
        return "FP32"
    kinds = {value.dtype for value in getattr(first, "__dict__", {}).values() if _is_floats(value)}
    return "FP32" if kinds == {np.dtype(np.float32)} else "FP64"


def _is_floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


# -- what it gives -----------------------------------------------------------------------------------


def given(spec: ModelSpec, model: Any, feed: Feed) -> list[TensorSpec]:
    """Its outputs: those that ``spec.outputs`` names, else labels and probabilities, else ``transform``.

    Raises LoadFailed where there is none, BadSetting for one that it has not.
    """
    there = [name for name in METHODS if hasattr(model, name)]
    names = [each.name for each in spec.outputs] or [n for n in there if n in ("predict", "predict_proba")]
    names = names or [name for name in there if name == "transform"]
    if not names:
        raise LoadFailed(f"the file holds {type(model).__name__}, which has neither predict nor transform")
    for name in names:
        if name not in there:
            raise BadSetting(f"output {name!r} is declared; the model has none, {nearest(name, there)}")
    found = [_tried(spec, model, feed, name) for name in names]
    return [each for each in found if each is not None]


def _tried(spec: ModelSpec, model: Any, feed: Feed, name: str) -> TensorSpec | None:
    """As a run shows it, or where made-up input does not run, as it is declared or as its classes tell."""
    try:
        got = getattr(model, name)(feed(feed.made_up()))
    except Exception as error:  # noqa: BLE001 - whatever an estimator raises
        return _declared(spec, name) or _by_classes(model, name, error)
    if isinstance(got, list):  # probabilities of several targets, each with classes of its own
        return None
    array = result(got)
    try:
        return TensorSpec(name, datatype_of(array.dtype), (-1, *array.shape[1:]))
    except InvalidRequest as error:
        raise LoadFailed(f"output {name!r} cannot be served: {error}") from None


def _declared(spec: ModelSpec, name: str) -> TensorSpec | None:
    return next((each for each in spec.outputs if each.name == name), None)


def _by_classes(model: Any, name: str, error: Exception) -> TensorSpec:
    classes = getattr(model, "classes_", None)
    if isinstance(classes, np.ndarray) and name == "predict":
        return TensorSpec(name, datatype_of(classes.dtype), (-1,))
    if isinstance(classes, np.ndarray) and name == "predict_proba":
        return TensorSpec(name, "FP64", (-1, len(classes)))
    raise LoadFailed(
        f"{name} does not run on made-up input ({one_line(error)}), so its output is not known; "
        f"declare it under [[outputs]]"
    ) from error


def result(value: Any) -> Array:
    """What a method returned as an array: dense, text as ``bytes``."""
    return labels(np.asarray(value.toarray() if hasattr(value, "toarray") else value))


# -- threads -----------------------------------------------------------------------------------------


def limit_jobs(model: Any, threads: int) -> None:
    """Sets ``n_jobs`` of the estimator and of all that it holds."""
    for each in estimators(model):
        if "n_jobs" in vars(each):
            each.n_jobs = threads


def estimators(model: Any) -> Iterator[Any]:
    """Itself and all that it holds."""
    from sklearn.base import BaseEstimator

    seen: set[int] = set()
    waiting = [model]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, BaseEstimator):
            yield thing
            waiting += vars(thing).values()
        elif isinstance(thing, (list, tuple)):
            waiting += thing
        elif isinstance(thing, dict):
            waiting += thing.values()


class Limits:
    """Keeps the libraries below scikit-learn to so many threads.

    BLAS keeps one count for the process; OpenMP one for each thread that calls it.
    """

    def __init__(self, threads: int) -> None:
        pools = require("threadpoolctl", "threadpoolctl", "sklearn").ThreadpoolController()
        pools.select(user_api="blas").limit(limits=threads)
        self._openmp: Sequence[Any] = pools.select(user_api="openmp").lib_controllers
        self._threads = threads
        self._here = local()

    @contextmanager
    def held(self) -> Iterator[None]:
        if not getattr(self._here, "set", False):
            for library in self._openmp:
                library.set_num_threads(self._threads)
            self._here.set = True
        if self._threads == 1:
            yield
            return
        with require("joblib", "joblib", "sklearn").parallel_config(
            backend="threading", n_jobs=self._threads
        ):
            yield
