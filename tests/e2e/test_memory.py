"""Memory that a model took comes back when the model goes; two hundred times in tests/traps."""

import numpy as np
import pytest

from benchmarks import fixtures
from penstock.client import Client
from tests.e2e.process import until

MB = 1_000_000


@pytest.fixture
def server(serve, repository):
    fixtures.write(repository, "large", "1", fixtures.sized(50))
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
