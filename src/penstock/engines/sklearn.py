"""scikit-learn: estimators and pipelines from skops files, and from pickles where the settings trust them."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed, PenstockError, one_line
from penstock.core.spec import Isolation, ModelSpec, Signature, TensorSpec
from penstock.core.tensors import dtype_of
from penstock.core.types import Tensors
from penstock.engines.files import find
from penstock.engines.require import require, without
from penstock.engines.sklearn_model import Feed, Limits, given, limit_jobs, plan_feed, result
from penstock.engines.tabular import Answer, TableSession, on_cpu, plan_outputs

log = logging.getLogger("penstock.engines.sklearn")
USUAL_FILES = ("model.skops", "model.joblib", "model.pkl")


class SklearnEngine:
    """Opens a version's ``model.skops`` (or ``spec.file``); runs on the CPU.

    In processes: much of scikit-learn holds the GIL, and its libraries' thread counts are the process's.
    """

    isolation: Isolation = "process"

    def open(self, spec: ModelSpec, files: Path, /) -> TableSession:
        """Raises LoadFailed that names types to trust, or what else is wrong with the file."""
        require("sklearn", "scikit-learn", "sklearn")
        path = find(spec, files, *USUAL_FILES)
        on_cpu(spec, "scikit-learn")
        threads = spec.instances.threads or 1
        model = load(spec, path)
        limit_jobs(model, threads)
        # What scikit-learn warns of in a run (say, an unknown category) is the model's way, and no news.
        warnings.filterwarnings("ignore", module=r"sklearn\.")
        feed = plan_feed(spec, model)
        outputs = plan_outputs(spec, given(spec, model, feed))
        answer = _answer(model, feed, outputs, Limits(threads))
        return TableSession("sklearn", Signature(feed.rows.inputs, outputs), threads, answer)


def _answer(model: Any, feed: Feed, outputs: Sequence[TensorSpec], limits: Limits) -> Answer:
    known = {spec.name: spec for spec in outputs}

    def answer(inputs: Tensors, names: Sequence[str]) -> Tensors:
        if not len(next(iter(inputs.values()))):  # which scikit-learn refuses
            return {name: _empty(known[name]) for name in names}
        x = feed(inputs)
        with limits.held():
            return {name: result(getattr(model, name)(x)) for name in names}

    return answer


def _empty(spec: TensorSpec) -> Any:
    return np.empty([max(size, 0) for size in spec.shape], dtype_of(spec.datatype))


def load(spec: ModelSpec, path: Path) -> Any:
    """The model; what is warned of meanwhile becomes lines of the log."""
    read = _skops if path.suffix == ".skops" else _pickle
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = read(spec, path)
    except PenstockError:
        raise
    except Exception as error:
        why = one_line(error).replace(str(path), path.name)
        kind = type(error).__name__
        why = kind if why == kind else f"{kind}: {why}"
        raise LoadFailed(f"{path.name} cannot be loaded: {why}") from error
    for line in dict.fromkeys(_said(each.message) for each in caught):
        log.warning("model %r: %s: %s", spec.name, path.name, line)
    return model


def _skops(spec: ModelSpec, path: Path) -> Any:
    # It imports every module of scikit-learn, some of which bring these: of PyTorch a second and 180 MB.
    with without("torch", "cupy", "dask"):
        skops = require("skops.io", "skops", "sklearn")
    strange = [name for name in skops.get_untrusted_types(file=path) if name not in spec.sklearn.trusted]
    if strange:
        raise LoadFailed(
            f"{path.name} holds types that are not trusted: {', '.join(strange)}; if you know where the "
            f"file comes from, list them in `trusted` under [sklearn]"
        )
    return skops.load(path, trusted=list(spec.sklearn.trusted))


def _pickle(spec: ModelSpec, path: Path) -> Any:
    if not spec.sklearn.pickle:
        raise LoadFailed(
            f"{path.name} is read as a pickle, which may run any code when it is loaded: set `pickle = true` "
            f"under [sklearn] if you trust whoever made it, or save the model as model.skops by skops.io.dump"
        )
    return require("joblib", "joblib", "sklearn").load(path)


def _said(warning: Warning | str) -> str:
    made, here = (getattr(warning, f"{of}_sklearn_version", "") for of in ("original", "current"))
    if made:
        return f"saved by scikit-learn {made} and loaded by {here}, which may change its answers or break it"
    return one_line(Exception(str(warning)))
