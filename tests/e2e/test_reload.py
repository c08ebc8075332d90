"""New versions come in and old ones go out under load, and no caller notices."""

import shutil
import time

import pytest

from benchmarks import fixtures
from tests.e2e import models
from tests.e2e.callers import Load
from tests.e2e.process import until

RELOADS = 400
GROWTH = 32 << 20
"""Bytes of resident memory that 300 reloads may add; one leaked session has about 0.2 MiB."""


def place(folder, version, content):
    """A whole folder at once: made beside the others under a hidden name, then renamed."""
    staged = folder / ".staged"
    staged.mkdir()
    (staged / "model.onnx").write_bytes(content)
    staged.rename(folder / version)


def dribble(folder, version, content):
    """Written in place, in pieces: for a while there is a file that is not yet a model."""
    target = folder / version
    target.mkdir()
    with (target / "model.onnx").open("wb", buffering=0) as file:
        for start in range(0, len(content), 40):
            file.write(content[start : start + 40])
            time.sleep(0.002)


class Releases:
    """Brings versions in, one after the other, and clears away what is old."""

    def __init__(self, server, folder, load):
        self.server, self.folder, self.load = server, folder, load

    def good(self, number, put):
        put(self.folder, str(number), models.adding(number))
        callers = self.load.callers
        until(lambda: all(one.last >= number for one in callers), f"version {number}", every=0.002)
        shutil.rmtree(self.folder / str(number - 3), ignore_errors=True)

    def corrupt(self, number):
        """Newer than the rest, and no model: what is said of it, with the old one still serving."""
        version = f"{number}b"
        place(self.folder, version, models.adding(number)[:-20])

        def said():
            index = self.server.post("/v2/repository/index").json()
            found = [one for one in index if one["version"] == version]
            return found and found[0]["state"] == "UNAVAILABLE" and found[0]["reason"]

        reason = until(lambda: said() not in (False, [], "", "unloaded") and said(), "a refusal")
        assert "model.onnx" in reason
        shutil.rmtree(self.folder / version)


@pytest.mark.slow
def test_hundreds_of_reloads_under_load_fail_no_request(serve, tmp_path):
    """Each version is put into the folder, loaded, warmed, and answers, before the next one comes.

    Every tenth is written slowly in place, the others are renamed in whole.
    After every fiftieth comes one that is corrupt.
    """
    folder = fixtures.write(tmp_path / "models", "adding", "1", models.adding(1)).parents[1]
    server = serve(tmp_path / "models", watch_poll_s=0.02, watch_settle_s=0.02)
    with Load(server, http=2, grpc=1) as load:
        releases = Releases(server, folder, load)
        for number in range(2, RELOADS + 2):
            releases.good(number, dribble if number % 10 == 0 else place)
            if number % 50 == 0:
                releases.corrupt(number)
            if number == 100:
                settled = server.rss()
        grown = server.rss() - settled
    assert load.failures == []
    assert min(load.answers) > RELOADS
    assert grown < GROWTH, f"{grown / 2**20:.1f} MiB"
    assert len(server.log(r"^model adding version \d+ is live")) == RELOADS + 1
    assert len(server.log(r"^model adding version \d+b is not served: .*model.onnx")) == RELOADS // 50
    assert len(server.get("/v2/models/adding").json()["versions"]) == 1


def test_a_reload_in_place_under_load_fails_no_request(serve, tmp_path):
    """The same version with another file, and ``load`` called over the API."""
    file = fixtures.write(tmp_path / "models", "adding", "1", models.adding(1))
    server = serve(tmp_path / "models", watch_enabled=False)
    with Load(server, http=2, grpc=1) as load:
        for number in range(2, 22):
            staged = file.with_name(".staged")
            staged.write_bytes(models.adding(number))
            staged.replace(file)
            assert server.post("/v2/repository/models/adding/load").status_code == 200
            callers = load.callers
            until(lambda n=number, c=callers: all(one.last >= n for one in c), f"number {number}")
    assert load.failures == []
