"""A server whose models run on a cluster: a node that goes takes no answer with it, and a server no actor."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.ray.conftest import ended, write_net
from tests.e2e.process import until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:os.fork")]  # after JAX's own tests

ASK = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture
def served(house, serve, tmp_path):
    """Two instances, of which each fills a node but for the server's."""
    write_net(tmp_path / "models" / "net" / "1", pause=0.02)
    settings = '[instances]\ncount = 2\nstart_s = 60\nresources = { CPU = 4 }\n[batching]\npolicy = "none"\n'
    (tmp_path / "models" / "net" / "model.toml").write_text(settings)
    return serve(tmp_path / "models", "--cluster", house.address)


def ask(server):
    """The process that answered, or what was said instead."""
    answer = server.post("/v2/models/net/infer", json=ASK)
    if answer.status_code != 200:
        return answer.text
    return next(each["data"][0] for each in answer.json()["outputs"] if each["name"] == "where")


def test_a_node_that_goes_takes_no_answer_and_a_killed_server_leaves_no_actor(house, served):
    with ThreadPoolExecutor(6) as pool:
        before = set(pool.map(lambda _: ask(served), range(40)))
        assert [len(before), *map(type, before)] == [2, int, int], before
        asked = [pool.submit(ask, served) for _ in range(60)]
        time.sleep(0.1)  # into the middle of it
        house.lose("east")
        asked += [pool.submit(ask, served) for _ in range(100)]
        answers = [each.result() for each in asked]
    assert set(answers) <= before, "some were not answered"
    lost = next(pid for pid in before if ended(pid))
    (left,) = before - {lost}
    assert answers[-1] == left
    until(lambda: served.log("a process ended"), "the loss to be noticed")
    house.add("east")
    until(lambda: served.log("a process is back"), "another instance")
    with ThreadPoolExecutor(6) as pool:
        now = set(pool.map(lambda _: ask(served), range(40)))
    assert len(now - {lost}) == 2
    served.process.kill()
    until(lambda: all(ended(pid) for pid in now), "the end of the actors")
