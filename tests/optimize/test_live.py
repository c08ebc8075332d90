"""A search on what a server was asked."""

import msgspec
import numpy as np
import pytest

from penstock.client import Client
from penstock.optimize.types import Outcome
from tests.cli.command import run
from tests.e2e.process import serving
from tests.optimize.models import mlp, rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


def test_what_a_server_was_asked_judges_its_model_and_reaches_no_disk(tmp_path, monkeypatch, capsys):
    file = tmp_path / "models" / "mlp" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    mlp(file)
    settings = f'cache = "{tmp_path / "cache"}"\n[record]\nrequests = 40\n'
    (tmp_path / "models" / "mlp" / "model.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    asked = rows("x", 60).groups[0]["x"]
    with serving(tmp_path / "models", watch_enabled=False) as process, Client(process.url) as client:
        for row in asked:
            client.infer("mlp", {"x": row[None]})
        options = ["--data", "live", "--url", process.url, "--passes", "clean", "--budget", "1s", "--quiet"]
        assert run("optimize", "mlp", *options, "--json", "out.json") == 0
    found = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=Outcome)
    assert (found.rows, found.labelled) == ((10, 30), False)
    assert found.trials[0].agreement.rows == 30
    assert found.choice.reasons[0] in capsys.readouterr().out.replace("\n", " ")
    kept = [each for each in (tmp_path / "cache").rglob("*") if each.is_file()]
    assert any(each.name == "journal.jsonl" for each in kept)
    assert not any(np.ascontiguousarray(row).tobytes() in each.read_bytes() for row in asked for each in kept)
