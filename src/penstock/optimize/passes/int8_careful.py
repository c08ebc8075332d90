"""Static int8 by NNCF with accuracy control: layers that lose most go back to float until the floor holds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.optimize.accuracy import judge
from penstock.optimize.passes import Made, Options, Source, quantizing
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from openvino import Model

MOST = 20
"""Layers that are put back at the most; each takes a run over all rows."""
LEAST = 20
"""Rows in each half, one of which calibrates and one of which tells what was lost."""


class Int8Careful:
    """For models of which plain quantization misses the floor; slow, as it runs the model over and over."""

    stage = "careful"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = quantizing.glance(source, "int8-careful")
        if model is None or not quantizing.can_be_quantized(model) or quantizing.unit(source) > 1:
            return ()
        quantizing.require_nncf("int8-careful")
        return [{"max_drop": source.max_drop}]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        if samples.rows < 2 * LEAST:
            raise LoadFailed(f"{samples.rows} rows to calibrate with are too few; it takes {2 * LEAST}")
        nncf = quantizing.require_nncf("int8-careful")
        core = quantizing.require_openvino("int8-careful").Core()
        plain = core.read_model(source.file)
        # Every other row, as rows come group by group.
        fit, check = samples.take(range(0, samples.rows, 2)), samples.take(range(1, samples.rows, 2))
        exact = core.compile_model(plain, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
        judged = quantizing.batches(source, check)
        names = [spec.name for spec in source.signature.outputs]
        score = Score(source, check, _answers(exact, judged, names), names)
        rows = quantizing.batches(source, fit)
        model = nncf.quantize_with_accuracy_control(
            plain,
            nncf.Dataset(rows),
            nncf.Dataset(judged),
            score,
            max_drop=float(options["max_drop"]),
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=MOST
            ),
            **_told(nncf, plain, len(rows)),
        )
        if "FakeQuantize" not in quantizing.kinds(model):
            raise LoadFailed("every layer had to go back to float to hold the floor, so nothing was gained")
        return quantizing.save(model, out, "int8-careful")


def _told(nncf: Any, plain: "Model", rows: int) -> dict[str, Any]:
    told = quantizing.told(nncf, plain) | {"subset_size": rows}
    del told["advanced_parameters"]  # which has another name there
    return told


class Score:
    """What NNCF asks of a model in the making: 1 less the drop, as the optimizer itself would judge it."""

    def __init__(self, source: Source, rows: Samples, exact: list[Tensors], names: Sequence[str]) -> None:
        self._rows, self._exact, self._names = rows, exact, names
        self._metric, self._max_drop = source.metric, source.max_drop

    def __call__(self, model: Any, batches: Iterable[Any]) -> tuple[float, None]:
        """``batches`` are those that made ``exact``, or some of them."""
        found = _answers(model, batches, self._names)
        ours = _joined(self._exact[: len(found)])
        labels: Array | None = self._rows.labels
        if labels is not None:
            labels = labels[: ours.rows]
        try:
            verdict = judge(ours, _joined(found), labels, self._metric, self._max_drop)
        except BadSetting:
            verdict = judge(ours, _joined(found), None, "", self._max_drop)
        return 1.0 - verdict.drop, None


def _answers(model: Any, batches: Iterable[Any], names: Sequence[str]) -> list[Tensors]:
    request = model.create_infer_request()
    found: list[Tensors] = []
    for batch in batches:
        given = request.infer(batch)
        found.append({name: np.array(given[place]) for place, name in enumerate(names)})
    return found


def _joined(answers: Sequence[Tensors]) -> Samples:
    """A group for each, as rows may have different lengths, or one where they have not."""
    if all(len({each[name].shape[1:] for each in answers}) == 1 for name in answers[0]):
        return Samples(({name: np.concatenate([each[name] for each in answers]) for name in answers[0]},))
    return Samples(tuple(answers))
