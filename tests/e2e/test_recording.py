"""The last requests of a model, over HTTP: opt-in, of every way in, in every datatype."""

import asyncio
import json

import numpy as np
import pytest
from onnx import TensorProto

from benchmarks import fixtures
from penstock import AsyncClient, Client
from penstock.client import ServerError
from penstock.doors.auth import digest
from tests.e2e import models

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
RECORD = "[record]\nrequests = 3\n"


@pytest.fixture
def folder(tmp_path):
    """``adding`` 1 and 2 and ``pipe`` over it record, ``quiet`` does not."""
    root = tmp_path / "models"
    for version in (1, 2):
        fixtures.write(root, "adding", str(version), models.adding(version))
    fixtures.write(root, "quiet", "1", models.adding(0))
    (root / "adding/model.toml").write_text(f'versions = "all"\n{RECORD}')
    (root / "pipe").mkdir()
    (root / "pipe/model.toml").write_text(RECORD)
    (root / "pipe/pipeline.toml").write_text("[[step]]\nmodel = 'adding'\nversion = '1'\n")
    return root


def rows(groups, name="x"):
    return [group[name][:, 0].tolist() for group in groups]


def test_the_last_requests_of_the_version_that_was_asked(folder, inside):
    client = inside(folder, watch__enabled=False)
    for number in range(5):
        client.infer("adding", ROW + number, binary=bool(number % 2))
    client.infer("adding", np.concatenate([ROW + 8, ROW + 9]), version="1")
    assert rows(client.samples("adding")) == [[2, 3, 4]]
    assert rows(client.samples("adding", "1")) == [[8, 9]]
    assert client.samples("adding")[0]["x"].dtype == np.float32


def test_the_steps_of_a_pipeline_and_the_pipeline_itself(folder, inside):
    client = inside(folder, watch__enabled=False)
    client.infer("pipe", ROW + 5)
    assert rows(client.samples("pipe")) == [[5]]
    assert rows(client.samples("adding", "1")) == [[5]]
    client.load("adding")  # which looks whether the pipelines' plans still hold
    client.infer("pipe", ROW + 6)
    assert rows(client.samples("pipe")) == [[5, 6]]


@pytest.mark.parametrize("name", models.KINDS)
def test_every_datatype_comes_back(tmp_path, inside, name):
    root = tmp_path / "models"
    file = fixtures.write(root, "same", "1", models.identity(models.KINDS[name]))
    (file.parents[1] / "model.toml").write_text(RECORD)
    client = inside(root, watch__enabled=False)
    values = models.VALUES[name]
    client.infer("same", {"x": values})
    client.infer("same", {"x": values[:, :1]})
    expected = values if name != "BYTES" else np.vectorize(str.encode, otypes=[object])(values)
    found = client.samples("same")
    assert [(group["x"].dtype, group["x"].shape) for group in found] == [
        (expected.dtype, (2, 2)), (expected.dtype, (2, 1)),
    ]  # fmt: skip
    assert (found[0]["x"] == expected).all()


def test_a_model_that_was_asked_nothing_has_no_samples(folder, inside):
    assert inside(folder, watch__enabled=False).samples("adding") == []


@pytest.mark.parametrize(
    ("model", "version", "status", "said"),
    [
        (
            "quiet",
            "",
            501,
            "model 'quiet' keeps no requests; set 'requests' under [record] in its model.toml",
        ),
        ("addng", "", 404, "no model 'addng'"),
        ("adding", "7", 404, "model 'adding' has no version '7'"),
    ],
)
def test_what_has_no_samples_says_why(folder, inside, model, version, status, said):
    with pytest.raises(ServerError) as told:
        inside(folder, watch__enabled=False).samples(model, version)
    assert told.value.status == status
    assert said in str(told.value)


def test_a_reload_begins_anew(folder, inside):
    client = inside(folder, watch__enabled=False)
    client.infer("adding", ROW)
    client.load("adding")
    assert client.samples("adding") == []


def test_the_async_client_has_it_too(folder, inside):
    url = inside(folder, watch__enabled=False).url

    async def ask():
        async with AsyncClient(url) as client:
            await client.infer("adding", ROW + 3)
            return await client.samples("adding", "2")

    assert rows(asyncio.run(ask())) == [[3]]


def test_only_admins_may_read_what_others_asked(folder, inside):
    keys = {digest("caller"): "infer", digest("boss"): "admin"}
    url = inside(folder, watch__enabled=False, keys=keys).url
    with Client(url, api_key="caller") as caller, Client(url, api_key="boss") as boss:
        caller.infer("adding", ROW + 4)
        with pytest.raises(ServerError, match="'admin' is needed for this"):
            caller.samples("adding")
        assert rows(boss.samples("adding")) == [[4]]


def test_the_answer_is_read_in_a_few_lines_without_our_client(folder, inside):
    import httpx
    from tritonclient.http import InferResult

    client = inside(folder, watch__enabled=False)
    client.infer("adding", ROW + 1)
    answer = httpx.get(f"{client.url}/penstock/models/adding/samples", params={"version": "2"})
    length = int(answer.headers["inference-header-content-length"])
    (told,) = json.loads(answer.content[:length])["outputs"]
    assert (told["name"], told["datatype"], told["shape"]) == ("0/x", "FP32", [1, 4])
    assert np.frombuffer(answer.content, "<f4", offset=length).tolist() == [1, 2, 3, 4]
    result = InferResult.from_response_body(answer.content, header_length=length)
    assert result.as_numpy("0/x").tolist() == [[1, 2, 3, 4]]


def test_what_a_process_lends_to_the_next_step_is_kept_as_it_was(tmp_path, inside):
    root = tmp_path / "models"
    for name in ("first", "then"):
        file = fixtures.write(root, name, "1", models.identity(TensorProto.FLOAT))
        (file.parents[1] / "model.toml").write_text(
            'isolation = "process"\n[instances]\ncount = 1\n[record]\nrequests = 50\n'
        )
    (root / "pipe").mkdir()
    steps = "[[step]]\nmodel = 'first'\noutputs = {y = 'z'}\n[[step]]\nmodel = 'then'\ninputs = {x = 'z'}\n"
    (root / "pipe/pipeline.toml").write_text(steps)
    client = inside(root, watch__enabled=False)
    large = np.zeros((1, 100_000), np.float32)
    for number in range(20):
        client.infer("pipe", large + number)
    assert rows(client.samples("then")) == [list(range(20))]
