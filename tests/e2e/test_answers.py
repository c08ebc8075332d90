"""What the server answers is what ONNX Runtime answers when it is asked directly."""

import asyncio
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc.aio
import tritonclient.http.aio

from benchmarks import fixtures
from tests.e2e.process import environment, serving

# aiohttp, under NVIDIA's client, warns of its own way of sending a body over a mebibyte.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

FIXTURES = {"tiny": fixtures.tiny, "medium": fixtures.medium, "sized": lambda: fixtures.sized(2)}
MODELS = {"digits-linear": "1", "digits-mlp": "1", "digits-mlp:2": "2"} | dict.fromkeys(FIXTURES, "1")
"""Version by model; what follows a colon only tells two versions apart."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("answers") / "models"
    command = [sys.executable, "-m", "penstock", "init", str(made)]
    subprocess.run(command, check=True, capture_output=True, env=environment(), timeout=120)
    for name, build in FIXTURES.items():
        fixtures.write(made, name, "1", build())
    return made


@pytest.fixture(scope="module")
def server(folder):
    # One thread each, so that a single answer must be the same to the last bit.
    with serving(folder, model_instances_threads=1) as process:
        yield process


class Model:
    """One model, asked directly."""

    def __init__(self, folder, name):
        self.version = MODELS[name]
        self.name = name.partition(":")[0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = str(folder / self.name / self.version / "model.onnx")
        self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]
        self.outputs = [output.name for output in self._session.get_outputs()]

    def rows(self, count, seed):
        """Pixels for the digits, else the normal values that the fixtures are made for."""
        rng = np.random.default_rng(seed)
        shape = (count, *self._input.shape[1:])
        if self.name.startswith("digits"):
            return rng.integers(0, 17, shape).astype(np.float32)
        return rng.standard_normal(shape, dtype=np.float32)

    def direct(self, rows):
        return dict(zip(self.outputs, self._session.run(None, {self._input.name: rows}), strict=True))

    def tensor(self, lib, rows, **form):
        made = lib.InferInput(self._input.name, list(rows.shape), "FP32")
        made.set_data_from_numpy(rows, **form)
        return made


def asker(server, model, way):
    """A client, and a coroutine function from rows to outputs by name."""
    if way == "grpc":
        lib, form = tritonclient.grpc.aio, {}
        client = lib.InferenceServerClient(server.grpc)
        wanted = [lib.InferRequestedOutput(name) for name in model.outputs]
    else:
        lib, form = tritonclient.http.aio, {"binary_data": way == "binary"}
        client = lib.InferenceServerClient(server.http, conn_limit=64)
        wanted = [lib.InferRequestedOutput(name, **form) for name in model.outputs]

    async def ask(rows):
        inputs = [model.tensor(lib, rows, **form)]
        result = await client.infer(model.name, inputs, model_version=model.version, outputs=wanted)
        return {name: result.as_numpy(name) for name in model.outputs}

    return client, ask


@pytest.fixture(params=MODELS)
def model(request, folder):
    return Model(folder, request.param)


@pytest.fixture(params=["json", "binary", "grpc"])
def way(request):
    return request.param


@pytest.mark.parametrize("count", [1, 5])
def test_a_single_answer_is_the_same_to_the_last_bit(server, model, way, count):
    rows = model.rows(count, seed=count)

    async def run():
        client, ask = asker(server, model, way)
        async with client:
            return await ask(rows)

    got, direct = asyncio.run(run()), model.direct(rows)
    assert {name: value.tolist() for name, value in direct.items()} == {
        name: value.tolist() for name, value in got.items()
    }


def test_answers_out_of_batches_are_the_callers_own(server, model, way):
    """Rounding may differ with the batch's size; whose row it is may not."""
    asked = [model.rows(1 + n % 3, seed=n) for n in range(48)]

    async def run():
        client, ask = asker(server, model, way)
        async with client:
            return await asyncio.gather(*map(ask, asked))

    for rows, got in zip(asked, asyncio.run(run()), strict=True):
        for name, direct in model.direct(rows).items():
            assert direct.shape == got[name].shape
            np.testing.assert_allclose(got[name], direct, rtol=1e-4, atol=1e-5)


def test_batches_were_formed(server):
    """Else the test above proves nothing."""
    stats = server.get("/v2/models/sized/stats").json()["model_stats"][0]
    assert max(one["batch_size"] for one in stats["batch_stats"]) > 3
