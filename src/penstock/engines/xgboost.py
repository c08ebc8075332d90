"""XGBoost: boosters from its own JSON and UBJSON files, with labels and probabilities as outputs."""

import json
import re
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed, one_line
from penstock.core.spec import Isolation, ModelSpec, Signature
from penstock.core.tensors import Array, datatype_of
from penstock.engines.boosted import Meaning, Predict, answers
from penstock.engines.files import find
from penstock.engines.require import require
from penstock.engines.tabular import TableSession, on_cpu, plan_outputs, plan_rows
from penstock.engines.ubjson import is_whole

_UBJSON = tuple(b"%c" % kind for kind in b"iUIlL$#}")
"""What may follow the first brace in UBJSON; in JSON it is white space or a quote."""
_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")  # [12:00:00] /src/file.cc:10:


class XgboostEngine:
    """Opens a version's ``model.json`` or ``model.ubj`` (or ``spec.file``); runs on the CPU."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> TableSession:
        """Raises LoadFailed with XGBoost's reason, and BadSetting where a declared signature disagrees."""
        xgboost = require("xgboost", "XGBoost", "xgboost")
        path = find(spec, files, "model.json", "model.ubj")
        on_cpu(spec, "XGBoost")
        threads = spec.instances.threads or 1
        try:
            booster = load(xgboost, path, threads)
            predict = _predict(xgboost, booster)
            columns, names = booster.num_features(), tuple(booster.feature_names or ())
            # The first run configures the booster, which is not for several threads at once.
            sample = predict(np.zeros((2, columns), np.float32))
        except Exception as error:
            raise LoadFailed(f"XGBoost refuses {path.name}: {_said(error)}") from error
        rows = plan_rows(spec, columns, names, "FP32")
        meaning = Meaning(config(booster)["objective"]["name"], datatype_of(sample.dtype), sample.shape[1:])
        signature = Signature(rows.inputs, plan_outputs(spec, meaning.outputs))
        return TableSession("xgboost", signature, threads, answers(rows, predict, meaning, np.float32))


def load(xgboost: Any, path: Path, threads: int) -> Any:
    """From memory, where XGBoost tells JSON from UBJSON by what it reads, and its errors name no path.

    Empty files, and UBJSON that is cut off, would end the process (seen in 3.2).
    """
    raw = path.read_bytes()
    if not raw.startswith(b"{") or (raw[1:2] in _UBJSON and not is_whole(raw)):
        raise ValueError("it is no whole JSON or UBJSON document")
    with xgboost.config_context(verbosity=0):
        booster = xgboost.Booster({"nthread": threads, "device": "cpu"})
        booster.load_model(bytearray(raw))
        booster.set_param({"nthread": threads, "device": "cpu"})
    return booster


def _predict(xgboost: Any, booster: Any) -> Predict:
    """As scikit-learn's wrapper does: up to the best round where training stopped early.

    ``inplace_predict`` alone is safe in several threads (Booster's reference), and for trees only.
    """
    last = rounds(booster)
    if config(booster)["gradient_booster"]["name"] != "gblinear":
        return lambda x: booster.inplace_predict(x, iteration_range=(0, last))
    turn = Lock()

    def linear(x: Array) -> Array:
        with turn:
            values: Array = booster.predict(xgboost.DMatrix(x))
            return values

    return linear


def rounds(booster: Any) -> int:
    """How many it predicts with; 0: all."""
    best = booster.attr("best_iteration")
    return int(best) + 1 if best else 0


def config(booster: Any) -> Any:
    """All that the booster knows of itself."""
    return json.loads(booster.save_config())["learner"]


def _said(error: Exception) -> str:
    """XGBoost's reason, without the place in its source and the stack that follow it."""
    reason = _PLACE.sub("", str(error).partition("Stack trace:")[0])
    return one_line(Exception(reason))
