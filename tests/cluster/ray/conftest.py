"""A Ray cluster of three nodes on this machine, for all tests that need one."""

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest

NET = """
import os
import time
from typing import Annotated, TypedDict

import numpy as np
from penstock import FP32, INT64

from .beside import ONE, PAUSE


class Answer(TypedDict):
    y: Annotated[FP32, -1, -1]
    where: Annotated[INT64, -1, 4]


def mapped(array):
    '''Whether it lies in Ray's store.'''
    at = array.ctypes.data
    for line in open("/proc/self/maps"):
        first, _, last = line.split()[0].partition("-")
        if int(first, 16) <= at < int(last, 16):
            return "plasma" in line or "/dev/shm" in line
    return False


class Net:
    def predict(self, x: Annotated[FP32, -1, -1]) -> Answer:
        time.sleep(PAUSE)
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = -1 if seen is None else len(seen.split(",")) if seen else 0
        where = [os.getpid(), mapped(x), x.base is not None, gpus]
        return {"y": x + np.float32(ONE), "where": np.tile(np.array(where, np.int64), (len(x), 1))}
"""


def write_net(folder: Path, pause: float = 0.0) -> Path:
    """A model of two files, which runs for ``pause`` seconds; the path of the first."""
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(NET)
    (folder / "beside.py").write_text(f"ONE = 1\nPAUSE = {pause}\n")
    return folder / "model.py"


class House:
    """The nodes: ``head``, where servers of the tests are, and those that have a resource of their name."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "temp_dir": str(folder)}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = {}
        for name in ("east", "west"):
            self.add(name)
        self.cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self.cluster.address

    def cache(self, name: str) -> Path:
        """Where a node keeps models."""
        return self.folder / f"cache-{name}" / "penstock" / "ray"

    def add(self, name: str) -> None:
        own = {"XDG_CACHE_HOME": str(self.folder / f"cache-{name}")}
        self.nodes[name] = self.cluster.add_node(
            wait=False, num_cpus=4, resources={name: 8}, include_dashboard=False, env_vars=own
        )

    def lose(self, name: str) -> None:
        """As a machine goes that loses its power."""
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)


@pytest.fixture(scope="session")
def house():
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets below it have names of 108 bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))  # or the cluster's address is written into /tmp/ray
        (folder / "ray").mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = House(folder)
        yield made
        made.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="session")
def cluster(house):
    """Our side of it, joined."""
    from penstock.cluster.ray.place import Cluster

    joined = Cluster(house.address, 60.0)
    joined.join()
    yield joined
    joined.leave()
