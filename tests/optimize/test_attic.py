import os
import time

import pytest

from penstock.engines.cache import LOCK, alone
from penstock.optimize.attic import DAYS, sweep
from penstock.optimize.journal import FILE

LONG_AGO = time.time() - (DAYS + 1) * 86400


@pytest.fixture
def folders(tmp_path):
    """Of searches long ago."""
    made = {name: tmp_path / name for name in ("mine", "old", "shown")}
    for folder in made.values():
        (folder / "int8").mkdir(parents=True)
        for name in (FILE, LOCK, "int8/model.onnx"):
            (folder / name).write_bytes(b"")
            os.utime(folder / name, (LONG_AGO, LONG_AGO))
    return made


def test_what_no_search_used_for_long_is_removed_and_nothing_else(folders, tmp_path):
    other = tmp_path / "of-something-else"
    other.mkdir()
    os.utime(other, (LONG_AGO, LONG_AGO))
    with alone(folders["shown"]):
        pass
    sweep(folders["mine"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine", other.name, "shown"]
