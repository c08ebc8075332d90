"""An instance on a node: where it goes, what it is sent, how it ends and comes back."""

import logging
import os
import select
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from penstock.core.errors import InstanceLost, LoadFailed
from penstock.core.spec import Instances, ModelSpec
from tests.cluster.ray.conftest import ended, write_net
from tests.e2e.process import until

BIG = 1 << 20

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:os.fork")]  # after JAX's own tests


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_net(tmp_path_factory.mktemp("net") / "1")


@pytest.fixture(scope="module")
def opened(cluster, file):
    """``opened(resources)`` opens an instance of the net."""
    sessions = []

    def one(start=30.0, **asked):
        spec = ModelSpec(name="net", engine="python", instances=Instances(resources=asked, start_s=start))
        session = cluster.open("python", cluster.sized(spec), file, "1", "net-1-0", lambda _: None)
        sessions.append(session)
        return session

    yield one
    for session in sessions:
        session.close()


@pytest.fixture(scope="module")
def west(opened):
    return opened(west=1)


def x(rows=1, columns=4):
    return {"x": np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)}


def process(session):
    """The number of the actor's process."""
    return int(session.run(x())["where"][0, 0])


def test_an_instance_goes_where_its_resources_are_and_its_files_come_through_the_store(house, west):
    answer = west.run(x())
    assert answer["y"].tolist() == [[1, 2, 3, 4]]
    assert answer["where"][0, 3] == 0, "it sees GPUs that it has not asked for"
    (kept,) = house.cache("west").glob("*/model.py")
    assert (kept.parent / "beside.py").is_file()
    assert not house.cache("east").exists()


def test_on_the_servers_own_node_files_are_read_where_they_are_and_a_gpu_is_there_that_was_asked_for(
    opened, caplog
):
    caplog.set_level(logging.INFO)
    session = opened(**{"node:__internal_head__": 0.001, "GPU": 0.5})
    answer = session.run(x())
    assert answer["y"].tolist() == [[1, 2, 3, 4]]
    assert answer["where"][0, 3] == 1
    assert "of files sent" not in caplog.text


def test_large_requests_are_read_where_they_lie_though_they_are_a_batch(west):
    parts = [x(16, BIG // 64), x(16, BIG // 64)]
    answer = west.run(west.merge(parts))
    assert answer["where"][0, 1:3].tolist() == [1, 1]
    assert np.array_equal(answer["y"], np.concatenate([part["x"] for part in parts]) + 1)
    assert not answer["y"].flags.owndata
    assert not answer["y"].flags.writeable


def test_small_requests_are_one_batch_too(west):
    answer = west.run(west.merge([x(), x(2)]))
    assert answer["y"].shape == (3, 4)


def test_an_actor_is_ended_comes_back_and_leaves_nothing_when_it_is_closed(house, opened):
    session = opened(west=1)
    first = process(session)
    os.kill(first, 9)
    assert select.select([session.sentinel], [], [], 20)[0]
    with pytest.raises(InstanceLost, match="died"):
        session.run(x())
    session.restart()
    second = process(session)
    session.close()
    until(lambda: ended(second), "the end of the process")
    with pytest.raises(RuntimeError, match="closed"):
        session.run(x())
    assert first != second
    assert len(list(house.cache("west").glob("*.lock"))) == 1  # a version is kept once


def test_what_no_node_has_is_waited_for_and_ray_hears_of_the_demand(house, opened, monkeypatch, caplog):
    monkeypatch.setattr("penstock.cluster.ray.remote._FIRST_WORD", 0.5)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(opened, start=4.0, north=2)
        until(lambda: {"CPU": 1, "north": 2} in demanded(house.address), "the demand")
        with pytest.raises(
            LoadFailed, match=r"waits for a node with \{CPU: 1, north: 2\}: the cluster's"
        ) as told:
            waits.result()
    assert "instances.start_s, 4 s" in str(told.value)
    assert "net-1-0 waits for a node" in caplog.text
    until(lambda: not demanded(house.address), "the end of the demand")


def test_who_waits_for_a_node_can_be_let_go_of(cluster, file):
    begun = Future()
    net = ModelSpec(name="net", engine="python", instances=Instances(resources={"north": 1}, threads=1))
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(cluster.open, "python", net, file, "1", "net-1-0", begun.set_result)
        begun.result(20).kill()
        with pytest.raises(LoadFailed, match="the actor that loads it ended"):
            waits.result(20)


def demanded(address):
    """What waits for a node, as Ray's autoscaler sees it."""
    from ray._raylet import GcsClient
    from ray.autoscaler.v2.sdk import get_cluster_resource_state

    state = get_cluster_resource_state(GcsClient(address=address))
    requests = [each.request for each in state.pending_resource_requests]
    return [dict(request.resources_bundle) for request in requests]


def test_a_model_that_cannot_be_loaded_says_why(cluster, tmp_path):
    file = write_net(tmp_path / "1")
    file.write_text("import nothing_of_that_name\n")
    spec = cluster.sized(ModelSpec(name="net", engine="python", instances=Instances(resources={"east": 1})))
    with pytest.raises(LoadFailed, match="nothing_of_that_name"):
        cluster.open("python", spec, file, "1", "net-1-0", lambda _: None)
