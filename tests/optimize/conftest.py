import pytest

from penstock.optimize import trial
from penstock.optimize.measure import Rounds

QUICK = {
    "screen": Rounds(3, 0.02, (1, 4)),
    "full": Rounds(6, 0.03, (1, 4)),
    "confirm": Rounds(6, 0.04, (1, 4)),
}


@pytest.fixture(scope="module")
def quick():
    """Fewer and shorter rounds, for searches whose figures do not matter."""
    with pytest.MonkeyPatch.context() as patch:
        for depth, rounds in QUICK.items():
            patch.setitem(trial.ROUNDS, depth, rounds)
        yield
