"""The echo engine's delays."""

from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.engines.echo import EchoEngine


def test_a_run_takes_the_delay_and_so_much_a_row() -> None:
    session = EchoEngine().open(ModelSpec(parameters={"delay_ms": "5", "per_row_ms": "2"}), Path())
    start = perf_counter()
    session.run({"x": np.zeros((10, 1), np.float32)})
    assert 0.025 <= perf_counter() - start < 1.0


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", ""])
def test_a_delay_that_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadSetting, match="delay_ms"):
        EchoEngine().open(ModelSpec(parameters={"delay_ms": text}), Path())
