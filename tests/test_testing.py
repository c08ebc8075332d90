import numpy as np
import pytest

from penstock.core.errors import BadSetting
from penstock.testing import ManualClock, running


def test_a_manual_clock_moves_only_when_told_to():
    clock = ManualClock(5.0)
    clock.advance(1.5)
    assert clock() == 6.5


def test_a_manual_clock_does_not_go_back():
    with pytest.raises(ValueError, match="go back by 1 s"):
        ManualClock().advance(-1)


def test_a_server_runs_inside_the_test(tmp_path):
    folder = tmp_path / "echo" / "1"
    folder.mkdir(parents=True)
    (folder / "model.echo").write_text("nothing")
    (tmp_path / "echo" / "model.toml").write_text('engine = "echo"\nfile = "model.echo"\n')
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with running(tmp_path) as client:
        assert client.ready()
        np.testing.assert_array_equal(client.infer("echo", {"x": x})["y"], x)


def test_a_server_that_cannot_start_says_why(tmp_path):
    with pytest.raises(BadSetting, match="holds no model"), running(tmp_path):
        pass
