"""A whole search on tiny models, with real engines in real processes."""

import json
import tomllib

import numpy as np
import pytest

from penstock.core.errors import BadSetting, LoadFailed
from penstock.optimize.run import LEAST, optimize
from penstock.optimize.samples import Samples
from penstock.optimize.types import Targets
from penstock.repository.locate import locate
from tests.optimize.models import FLOAT, Graph, cnn, loaded, rows, tensor

HERE = "tests.optimize.odd_passes"
pytestmark = pytest.mark.slow


@pytest.fixture
def repository(tmp_path):
    file = tmp_path / "models" / "digits" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    cnn(file)
    settings = f'cache = "{tmp_path / "cache"}"\n[queue]\nmax_rows = 99\n'
    (tmp_path / "models" / "digits" / "model.toml").write_text(settings)
    return tmp_path / "models"


@pytest.fixture
def data():
    return rows("image", 400)


def search(repository, data, *passes, model="digits", **options):
    return optimize(model, data, repository=repository, passes=passes, **options)


def test_a_pass_of_ones_own_makes_a_version_that_serves_the_same(repository, data):
    """The copy is as fast as the original, so a pass that ruins it and one that dies change nothing."""
    told = []
    outcome = search(
        repository,
        data,
        f"{HERE}:Copy",
        f"{HERE}:Ruins",
        f"{HERE}:Dies",
        "bf16",
        watch=told.append,
        apply=True,
    )
    labels = {each.candidate.artefact for each in outcome.trials}
    assert {"source", f"{HERE}:Copy", f"{HERE}:Ruins"} <= labels
    assert "signal 9: about to die" in outcome.refused[f"{HERE}:Dies"]
    assert outcome.choice.winner is None or outcome.choice.winner.artefact != f"{HERE}:Ruins"
    ruined = next(each for each in outcome.trials if each.candidate.artefact == f"{HERE}:Ruins")
    assert not ruined.agreement.passed
    assert len(outcome.choice.reasons) == 3
    assert told[-1].doing == ""
    assert outcome.complete


def test_the_original_against_itself_is_within_the_noise(repository, data):
    outcome = search(repository, data, "clean")
    itself = [
        each.figures.speedup
        for each in outcome.trials
        if each.candidate == outcome.baseline and each.depth == "full"
    ]
    assert 0.7 < itself[0].mid < 1.4


def test_what_was_done_is_not_done_again(repository, data):
    first = search(repository, data, "clean")
    steps = []
    again = search(repository, data, "clean", watch=steps.append)
    assert [each.doing for each in steps] == ["looking at the model", ""]
    assert again == first


def test_a_search_that_was_interrupted_goes_on(repository, data):
    steps = []

    def interrupt(progress):
        steps.append(progress.doing)
        if len(steps) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(repository, data, "clean", watch=interrupt)
    rest = []
    search(repository, data, "clean", watch=lambda progress: rest.append(progress.doing))
    assert rest[1] == steps[3]
    assert not set(rest[1:]) & set(steps[1:3])


def test_other_data_mean_another_search(repository, data):
    search(repository, data, "clean")
    steps = []
    search(repository, rows("image", 401), "clean", budget=1.0, watch=steps.append)
    assert len(steps) > 2


def test_a_winner_becomes_a_version_with_its_settings_and_its_record(repository, data, tmp_path):
    """The floor is so low, and the original so badly laid out, that something has to win."""
    settings = repository / "digits" / "model.toml"
    settings.write_text(
        settings.read_text() + "[onnx.session]\ngraph_optimization_level = 'ORT_DISABLE_ALL'\n"
    )
    before = sorted(path.name for path in (repository / "digits" / "1").iterdir())
    outcome = search(
        repository, data, "int8-nncf", "bf16", targets=Targets(max_drop=0.9, minimize="cost"), apply=True
    )
    assert sorted(path.name for path in (repository / "digits" / "1").iterdir()) == before
    winner = outcome.choice.winner
    assert winner is not None
    folder = repository / "digits" / "2"
    assert outcome.applied == str(folder)
    own = tomllib.loads((folder / "model.toml").read_text())
    assert (own["engine"], own["instances"]["threads"]) == (winner.engine, winner.threads)
    record = json.loads((folder / "variant.json").read_text())
    assert record["digest"] == outcome.digest
    assert str(tmp_path) not in (folder / "variant.json").read_text()
    located = locate("digits", repository)
    assert (located.version, located.spec.engine, located.spec.queue.max_rows) == ("2", winner.engine, 99)
    from penstock.core.importing import find
    from penstock.engines import ENGINES

    session = find(winner.engine, ENGINES, "engine")().open(located.spec, located.file)
    original = loaded(repository / "digits" / "1" / "model.onnx")
    few = {"image": data.groups[0]["image"][:4]}
    assert session.run(few)["logits"].shape == original.run(few)["logits"].shape
    session.close()


def test_too_few_samples_and_a_place_that_is_taken_are_said_at_once(repository, data):
    with pytest.raises(BadSetting, match=f"give {LEAST} at the least"):
        search(repository, data.take(range(5)))
    (repository / "digits" / "elsewhere").mkdir()
    with pytest.raises(BadSetting, match="is there already"):
        search(repository, data, out=repository / "digits" / "elsewhere")
    with pytest.raises(BadSetting, match="no pass 'cleam'; did you mean 'clean'"):
        search(repository, data, "cleam")
    with pytest.raises(BadSetting, match="has stage 'whenever'"):
        search(repository, data, f"{HERE}:Unstaged")


def test_samples_that_do_not_fit_are_the_models_own_words(repository):
    with pytest.raises(LoadFailed, match="image"):
        search(repository, Samples(({"image": np.zeros((40, 2, 8, 8), np.float32)},)), "clean")


def test_a_model_of_a_fixed_batch_is_measured_in_it(tmp_path, monkeypatch):
    """51 rows judge, so the last batch of 8 is not full."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    graph = Graph()
    graph.linear("x", 16, 10, give="y")
    graph.save(tmp_path / "eight.onnx", [tensor("x", FLOAT, 8, 16)], [tensor("y", FLOAT, 8, 10)])
    data = rows("x", 67)
    outcome = optimize(str(tmp_path / "eight.onnx"), data, passes=("clean",), budget=0.1)
    figures = outcome.trials[0].figures
    assert [batch.rows for batch in figures.batches] == [8]
    assert outcome.trials[0].agreement.rows == outcome.rows[1] == 51
