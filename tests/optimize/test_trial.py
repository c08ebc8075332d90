"""Trials of variants that are no drop-ins, with real engines in real processes."""

import numpy as np
import pytest
from msgspec.structs import replace

from penstock.optimize.run import optimize
from penstock.optimize.types import Targets
from tests.optimize.models import loaded, mlp, rows

HERE = "tests.optimize.narrow_passes"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return mlp(tmp_path / "mlp.onnx")


def test_a_variant_has_to_take_what_the_original_takes(file):
    outcome = optimize(
        str(file),
        rows("x", 80),
        passes=(
            "clean",
            f"{HERE}:Narrow",
        ),
        budget=30.0,
    )
    told = [why for label, why in outcome.refused.items() if "Narrow" in label]
    assert told == ["input 'x', FP32 [-1, 16] in the original, is FP32 [1, 16]"]


def test_rows_of_one_request_are_judged_together_where_they_influence_each_other(file):
    """A server that does not batch still runs those of one request as they came."""
    outcome = optimize(
        str(file),
        rows("x", 80),
        passes=(
            "clean",
            f"{HERE}:Swayed",
        ),
        budget=30.0,
    )
    (swayed,) = [each for each in outcome.trials if each.candidate.artefact == f"{HERE}:Swayed"]
    assert (swayed.batched, swayed.agreement.passed) == (False, False)
    assert swayed.agreement.drop > 0.1


def test_a_metric_that_fails_on_a_variants_answers_refuses_that_variant_alone(file):
    data = rows("x", 80)
    largest = np.abs(loaded(file).run(data.groups[0])["logits"]).max(axis=1)
    data = replace(data, labels=np.full(80, largest.max() * 1.01))
    outcome = optimize(
        str(file),
        data,
        targets=Targets(metric=f"{HERE}:fussy"),
        passes=(
            "clean",
            f"{HERE}:Swayed",
        ),
        budget=30.0,
    )
    assert any("its answers cannot be judged: metric" in why for why in outcome.refused.values())
    assert outcome.complete
