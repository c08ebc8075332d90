"""Real servers as replicas, a real scaler process, and an autoscaler by KEDA's and Kubernetes' rules."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import cycle
from threading import Event, Thread

import grpc
import httpx
import pytest

from benchmarks import fixtures
from penstock.cluster.kubernetes.wanted import Scaled, Source, Wanted
from penstock.cluster.kubernetes.write import manifests
from penstock.cluster.scaler.fetch import client
from penstock.cluster.scaler.prometheus import Prometheus
from penstock.cluster.scaler.trigger import read
from penstock.scaling.series import Series
from tests.cluster.scaler.autoscaler import replicas
from tests.cluster.scaler.prometheus import free_port, scraping
from tests.cluster.scaler.serving import Keda, generated
from tests.e2e.process import Process, environment, until

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "data": [0.5] * 32}]}
CARRIES = 10.0
"""Requests/s of one replica, as this test has it."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas") / "models"
    fixtures.write(folder, "tiny", "1", fixtures.tiny())
    return folder


@pytest.fixture(scope="module")
def ports():
    return [free_port() for _ in range(2)]


@pytest.fixture(scope="module")
def prometheus(ports, tmp_path_factory):
    """Begun before there is anything to scrape: it takes 5 s until it looks for the first time."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus (Debian: prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(folder, *(f"127.0.0.1:{port}" for port in ports)) as found:
        yield found


@pytest.fixture(scope="module")
def servers(repository, ports):
    found = [Process(repository, "--grpc-port", "-1", ports=(port, 0), meter_file="none") for port in ports]
    try:
        yield [each.wait_ready() for each in found]
    finally:
        for each in found:
            each.close()


def written():
    """The arguments of a scaler as its manifest has them, at another address."""
    wanted = Wanted(
        image="x", source=Source("claim", "m"), least=1, most=2, keda=True, scaled=(Scaled("tiny"),)
    )
    made = next(e for e in manifests(wanted) if e["metadata"]["name"] == "penstock-scaler")
    verb, *arguments = made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert verb == "scaler"
    return [{"0.0.0.0": "127.0.0.1", "6000": "0"}.get(each, each) for each in arguments]


@pytest.fixture(scope="module")
def scaler():
    """The verb, in a process of its own; gives its channel, and the process."""
    command = [sys.executable, "-m", "penstock", "scaler", *written()]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            port = next(
                line["port"] for line in map(json.loads, process.stderr) if line["message"] == "ready"
            )
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel, process
        finally:
            process.kill()


class Traffic:
    """Requests/s as ``rate(seconds)`` has them, in turns to all servers that answer."""

    def __init__(self, servers, rate):
        self._urls = [f"{each.url}/v2/models/tiny/infer" for each in servers]
        self._rate = rate
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self.now = 0.0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        begun = due = time.monotonic()
        turns = cycle(self._urls)
        with httpx.Client() as asking:
            while not self._ended.is_set():
                self.now = self._rate(due - begun)
                due += 1 / self.now
                time.sleep(max(0.0, due - time.monotonic()))
                url = next(turns)
                try:
                    asking.post(url, json=BODY)
                except httpx.TransportError:
                    pass


def metadata(**changed):
    usual = {
        "model": "tiny", "most": "20", "carries": f"{CARRIES:g}", "target": "100", "everySeconds": "0.5",
        "tickSeconds": "0.5", "syncSeconds": "1", "startupSeconds": "2",
    }  # fmt: skip
    return usual | changed


def named(servers):
    return ",".join(f"127.0.0.1:{each.http_port}" for each in servers)


def test_prometheus_counts_as_well(prometheus, servers, scaler):
    (url, process), (channel, _) = prometheus, scaler
    with Traffic(servers, lambda _: 15.0):
        terms = metadata(serverAddress=url, carries="5", selector='job="penstock"', staleSeconds="1.5")
        keda = Keda(channel, terms, "counted")
        demand = Keda(channel, terms | {"demand": "vector(80)", "least": "0"}, "demand")
        several = Keda(channel, terms | {"demand": "up", "least": "0"}, "several")
        unknown = Keda(channel, terms | {"model": "unknown"}, "unknown")
        for each in (keda, demand, several, unknown):
            each.specs()  # from here on it is watched
        until(lambda: keda.refusal() is None and keda.wanted() >= 3, "traffic in Prometheus", every=0.1)
        assert keda.wanted() <= 14

        asyncio.run(remembered(terms))

        until(lambda: demand.refusal() is None and demand.wanted() >= 10, "the demand to be seen", every=0.1)

        assert "wrap it in sum" in until(several.refusal, "a refusal")[1]
        assert until(unknown.refusal, "a refusal")[0].name == "NOT_FOUND"

        process.kill()
        assert keda.refusal() is None
        assert until(keda.refusal, "the scaler to say that it knows nothing")[0].name == "UNAVAILABLE"


async def remembered(terms):
    """Fails where Prometheus does not understand what it is asked."""
    async with client() as asking:
        await Prometheus(read(terms), asking).history(Series())


def test_what_is_written_for_a_pod_runs_and_drains(repository):
    """The container's own arguments, environment and probes, at other ports and paths."""
    wanted = Wanted(image="x", source=Source("image", str(repository)), http_port=0, grpc_port=-1)
    pod = manifests(wanted)[0]["spec"]["template"]["spec"]["containers"][0]
    own = {each["name"]: each["value"] for each in pod["env"]}
    own |= {"HOME": str(repository.parent), "XDG_STATE_HOME": str(repository.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "penstock", *pod["args"]],
        env=environment() | own,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            ready = next(line for line in map(json.loads, process.stderr) if line["message"] == "ready")
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                path = pod[probe]["httpGet"]["path"]
                assert httpx.get(f"http://127.0.0.1:{ready['http_port']}{path}").status_code == 200
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_ramp_is_met_before_it_comes_and_losses_are_borne(servers, scaler, tmp_path):
    """Two replicas, a rate that grows past what they carry, and then none at all; the last of these tests."""
    pb2, _ = generated(tmp_path)
    channel, process = scaler
    keda = Keda(channel, metadata(replicas=named(servers), staleSeconds="1.5"), pb2=pb2)
    assert replicas(2, keda.specs(), keda.values(), 2, 20) == 2
    own = metadata(replicas=named(servers))
    del own["carries"]  # a server says so itself
    assert Keda(channel, own, "own").wanted() == 2  # those that there are
    with Traffic(servers, lambda seconds: 3 + 2.5 * seconds) as traffic:

        def more():
            return replicas(2, keda.specs(), keda.values(), 2, 20) > 2 and traffic.now

        assert until(more, "a third replica", every=0.1) < 2 * CARRIES
        wanted = keda.wanted()
        servers[1].close()
        time.sleep(0.7)
        assert keda.wanted() >= wanted
    servers[0].close()
    assert keda.refusal() is None
    code, said = until(keda.refusal, "the scaler to say that it knows nothing")
    assert (code.name, "none of 2 replicas answers" in said) == ("UNAVAILABLE", True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
