"""``penstock k8s``: what it prints and writes, and what it refuses with a word on what would be right."""

import json

import pytest
import yaml

from tests.cli.command import run


@pytest.fixture
def repository(tmp_path):
    for model, settings in (("fast", "[target]\np99_ms = 20\n"), ("slow", "")):
        (tmp_path / "models" / model / "1").mkdir(parents=True)
        (tmp_path / "models" / model / "1" / "model.onnx").write_bytes(b"")
        (tmp_path / "models" / model / "model.toml").write_text(settings)
    pipeline = tmp_path / "models" / "both"
    pipeline.mkdir()
    (pipeline / "pipeline.toml").write_text('[[step]]\nmodel = "fast"\n')
    return tmp_path / "models"


def printed(capsys, *arguments):
    assert run("k8s", *arguments) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_the_least_that_can_be_said_is_enough(capsys):
    made = printed(capsys)
    assert [each["kind"] for each in made] == ["Deployment", "Service", "PodDisruptionBudget"]


def test_models_are_scaled_by_their_own_targets(capsys, repository):
    made = printed(capsys, str(repository), "--replicas", "2:6", "--target", "80")
    triggers = made[-1]["spec"]["triggers"]
    told = {each["metadata"]["model"]: each["metadata"]["target"] for each in triggers}
    assert told == {"fast": "20", "slow": "80"}  # and not the pipeline, which asks them


def test_one_model_may_decide_alone(capsys, repository):
    made = printed(capsys, str(repository), "--replicas", "2:6", "--model", "slow")
    assert [each["name"] for each in made[-1]["spec"]["triggers"]] == ["slow"]


def test_files_and_json_hold_the_same(capsys, tmp_path):
    options = ("--replicas", "2:6", "--model", "m", "--monitor")
    made = printed(capsys, *options)
    assert run("k8s", *options, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"apiVersion": "v1", "kind": "List", "items": made}
    assert said.err == ""
    assert run("k8s", *options, "--out", str(tmp_path / "out")) == 0
    files = [yaml.safe_load(file.read_text()) for file in sorted((tmp_path / "out").iterdir())]
    assert sorted(files, key=str) == sorted(made, key=str)


def test_settings_are_taken_along(capsys, tmp_path):
    config = tmp_path / "penstock.toml"
    config.write_text('[server]\nhttp_port = 9000\ndrain_s = 100\n[keys]\n"' + "ab" * 32 + '" = "infer"\n')
    made = printed(capsys, "--config", str(config))
    assert made[0]["data"]["penstock.toml"] == config.read_text()
    pod = made[1]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 100
    assert {"name": "PENSTOCK_SERVER_INSECURE", "value": "true"} not in pod["containers"][0]["env"]
    assert made[2]["spec"]["ports"][0]["port"] == 9000


def test_what_must_be_there_is_said_beside_it(capsys):
    assert run("k8s") == 0
    assert "PersistentVolumeClaim penstock-models" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--name", "My_Models"), "e.g. 'my-models'"),
        (("--name", "x" * 60), "too long; 48 characters at most"),
        (("--namespace", "a.b"), "is no name for Kubernetes"),
        (("--image", "Bad Image"), "write e.g. registry.example.com/penstock:1.0"),
        (("--cpu", "two"), "write e.g. 2, 1.5, 500m"),
        (("--memory", "4GB"), "write e.g. 4Gi"),
        (("--gpu", "-1"), "write 0 for none"),
        (("--replicas", "many"), "write e.g. 3 or 2:10"),
        (("--replicas", "5:2"), "is no range"),
        (("--replicas", "0"), "is no range"),
        (("--replicas", "1:4"), "or --model NAME"),
        (("--replicas", "0:4", "--model", "m"), "give --demand"),
        (("--replicas", "0:4", "--model", "m", "--demand", "x"), "--prometheus URL, too"),
        (("--replicas", "1:4", "--model", "m", "--no-keda"), "leave --no-keda out"),
        (("--replicas", "4", "--model", "m", "--keda"), "leaves KEDA nothing to move"),
        (("--claim", "a", "--uri", "s3://b"), "give one of them"),
        (("--uri", "models"), "e.g. s3://bucket/models"),
        (("--in-image", "models"), "a whole path inside the image"),
        (("--keys-secret", "My Secret"), "--keys-secret: 'My Secret' is no name"),
        (("--config", "nowhere.toml"), "cannot be read"),
    ],
)
def test_what_no_cluster_would_take_is_refused_with_what_would_be_right(capsys, options, sentence):
    assert run("k8s", *options) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_model_that_is_not_there_is_refused(capsys, repository):
    assert run("k8s", str(repository), "--replicas", "1:4", "--model", "fats") == 2
    assert "did you mean 'fast'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "out").write_text("")
    assert run("k8s", "--out", str(tmp_path / "out")) == 2
    assert "name a folder" in capsys.readouterr().err
