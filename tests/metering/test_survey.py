"""What the log says of the machine at the start."""

import logging

import pytest

from penstock.core.terms import Budget
from penstock.metering.energy.probe import NullProbe
from penstock.metering.equipment import Equipment
from penstock.metering.survey import tell


class Rapl(NullProbe):
    method = "rapl"


@pytest.mark.parametrize(
    ("equipment", "silent"),
    [
        (Equipment(probes=[Rapl()]), ""),
        (Equipment(), "the energy"),
        (Equipment(gpus=1, probes=[Rapl()]), "that of the GPUs"),
    ],
)
def test_what_nothing_tells_is_said_and_so_is_the_budget_that_does_nothing(equipment, silent, caplog):
    with caplog.at_level(logging.INFO, "penstock.meter"):
        tell(equipment, {"shop": Budget(joules_per_hour=1.0)})
    energy = f"nothing tells {silent}" if silent else "rapl"
    assert f"energy: {energy}" in caplog.messages[0]
    warned = [f"budgets in joules do nothing: nothing tells {silent}; see [energy] probe"] if silent else []
    assert caplog.messages[1:] == warned
