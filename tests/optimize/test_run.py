"""A whole search on tiny models, with real engines in real processes."""

import json
import tomllib

import numpy as np
import pytest
from msgspec.structs import replace

from penstock.client import Client
from penstock.core.errors import BadSetting, LoadFailed
from penstock.optimize.run import LEAST, optimize
from penstock.optimize.samples import Samples
from penstock.repository.locate import locate
from tests.e2e.process import serving
from tests.optimize.models import FLOAT, Graph, cnn, loaded, mlp, rows, tensor

HERE = "tests.optimize.odd_passes"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


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


def slow_twin(file):
    """The model as it is beside ``file``, and in it with products of large matrices that come to nothing."""
    import onnx
    from onnx import helper, numpy_helper

    mlp(file)
    file.with_name("twin").write_bytes(file.read_bytes())
    model = onnx.load(file)
    graph, wide = model.graph, 1000
    for name, shape in (("in", (16, wide)), ("on", (wide, wide)), ("out", (wide, 10))):
        values = np.full(shape, 1e-6, np.float32)
        graph.initializer.append(numpy_helper.from_array(values, f"idle_{name}"))
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "before"
    graph.node.extend(
        helper.make_node("MatMul", [left, f"idle_{name}"], [f"x_{name}"])
        for left, name in (("x", "in"), ("x_in", "on"), ("x_on", "out"))
    )
    graph.initializer.append(numpy_helper.from_array(np.float32(1e-9), "little"))
    graph.node.append(helper.make_node("Mul", ["x_out", "little"], ["nothing"]))
    graph.node.append(helper.make_node("Add", ["before", "nothing"], ["logits"]))
    onnx.save(model, file)


@pytest.fixture(scope="module")
def found(tmp_path_factory, quick):
    """(folder of the model, outcome): a search that was bound to find the twin, and applied it."""
    tmp_path = tmp_path_factory.mktemp("found")
    folder = tmp_path / "models" / "slow"
    (folder / "1").mkdir(parents=True)
    slow_twin(folder / "1" / "model.onnx")
    (folder / "model.toml").write_text(f'cache = "{tmp_path / "cache"}"\n[queue]\nmax_rows = 99\n')
    before = {path.name: path.read_bytes() for path in (folder / "1").iterdir()}
    outcome = search(tmp_path / "models", rows("x", 200), f"{HERE}:Lean", "clean", model="slow", apply=True)
    assert {path.name: path.read_bytes() for path in (folder / "1").iterdir()} == before
    return folder, outcome


def test_a_winner_becomes_a_version_with_its_settings_and_its_record(found):
    folder, outcome = found
    winner = outcome.choice.winner
    assert winner.artefact == f"{HERE}:Lean"
    assert outcome.applied == str(folder / "2")
    own = tomllib.loads((folder / "2" / "model.toml").read_text())
    assert (own["engine"], own["instances"]["threads"]) == (winner.engine, winner.threads)
    record = json.loads((folder / "2" / "variant.json").read_text())
    assert record["digest"] == outcome.digest
    assert str(folder.parent) not in (folder / "2" / "variant.json").read_text()
    located = locate("slow", folder.parent)
    assert (located.version, located.spec.engine, located.spec.queue.max_rows) == ("2", winner.engine, 99)
    confirmed = next(each for each in outcome.trials if each.depth == "confirm")
    assert confirmed.candidate == winner
    assert confirmed.figures.speedup.low > 2
    assert "× faster" in outcome.choice.reasons[0]


def test_the_same_again_starts_from_the_original_and_writes_no_twin(found):
    """Though the newest version is what was found."""
    folder, outcome = found
    steps = []
    again = search(
        folder.parent,
        rows("x", 200),
        f"{HERE}:Lean",
        "clean",
        model="slow",
        apply=True,
        watch=lambda progress: steps.append(progress.doing),
    )
    assert again == outcome
    assert steps == ["looking at the model", ""]
    assert sorted(each.name for each in folder.iterdir() if each.is_dir()) == ["1", "2"]


def test_what_was_found_serves_beside_the_original_and_answers_the_same(found):
    """By a client, over HTTP, both versions at once."""
    folder, _ = found
    settings = folder / "model.toml"
    settings.write_text('versions = "all"\n' + settings.read_text())
    few = {"x": rows("x", 4).groups[0]["x"]}
    with serving(folder.parent, watch_enabled=False) as process, Client(process.url) as client:
        old, new = (client.infer("slow", few, version=version)["logits"] for version in ("1", "2"))
    np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-5)


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


def test_labels_by_which_the_original_is_never_right_are_refused(repository, data):
    """Against such no variant could lose anything."""
    told = loaded(repository / "digits" / "1" / "model.onnx").run(data.groups[0])["logits"].argmax(axis=1)
    with pytest.raises(BadSetting, match="labels seem to be of other rows"):
        search(repository, replace(data, labels=(told + 1) % 10), "clean")


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
