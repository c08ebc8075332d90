"""Memory that a model took comes back when the model goes."""

import numpy as np
import pytest

from benchmarks import fixtures
from penstock.client import Client
from tests.e2e.process import until

MB = 1_000_000


@pytest.fixture
def server(serve, repository):
    fixtures.write(repository, "large", "1", fixtures.sized(50))
    fixtures.write(repository, "middling", "1", fixtures.sized(4))
    return serve(repository, watch_enabled=False)


def load(server, model="large"):
    assert server.post(f"/v2/repository/models/{model}/load").status_code == 200


def unload(server, model="large"):
    assert server.post(f"/v2/repository/models/{model}/unload").status_code == 200


def test_unloading_gives_the_memory_of_a_large_model_back(server):
    """The model's weights take 50 MB; all but a tenth must come back, and so every time."""
    unload(server)
    without = server.rss()
    for _ in range(5):
        load(server)
        with Client(server.url) as client:
            client.infer("large", {"x": np.zeros((16, 256), np.float32)})
        assert server.rss() - without > 45 * MB
        unload(server)
        until(lambda: server.rss() - without < 10 * MB, "the memory", seconds=5)


@pytest.mark.slow
def test_two_hundred_loads_and_unloads_leave_nothing_behind(server):
    """A tenth of the weights left behind each time would make 72 MB."""
    unload(server)
    for number in range(200):
        unload(server, "middling")
        if number == 20:
            without = server.rss()
        load(server, "middling")
    unload(server, "middling")
    grown = server.rss() - without
    assert grown < 15 * MB, f"{grown / MB:.1f} MB"
    states = server.post("/v2/repository/index").json()
    wanted = {"large": "UNAVAILABLE", "middling": "UNAVAILABLE", "tiny": "READY"}
    assert {one["name"]: one["state"] for one in states} == wanted
