"""What the guide to Kubernetes says is so."""

import re
import shlex
from pathlib import Path

import pytest

from penstock.cluster.kubernetes import pod
from penstock.cluster.scaler import trigger
from tests.cli.command import run
from tests.cluster.kubernetes.wanted import PLAIN

GUIDE = (Path(__file__).parents[3] / "docs/guide/kubernetes.md").read_text()
COMMANDS = re.findall(r"^ *\$ penstock (k8s .*)$", GUIDE, re.MULTILINE)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_write_manifests(command, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "models" / "digits"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert run(*shlex.split(command)) == 0
    assert capsys.readouterr().out or list((tmp_path / "deploy").iterdir())


def test_commands_are_there():
    assert len(COMMANDS) == 4


def test_the_table_of_metadata_is_complete():
    table = GUIDE[GUIDE.index("| key of the trigger's metadata") :].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == trigger.known()


def test_defaults_in_the_table_are_the_scalers():
    made = trigger.read({"model": "m", "replicas": "a:1", "most": "2"})
    values = {
        "least": made.terms.least,
        "startupSeconds": made.startup_s,
        "syncSeconds": made.sync_s,
        "tickSeconds": made.terms.tick_s,
        "everySeconds": made.every_s,
        "staleSeconds": made.stale_s,
        "tolerance": made.tolerance,
        "idleSeconds": made.terms.idle_s,
        "holdSeconds": made.terms.hold_s,
        "budget": made.terms.budget,
        "headroom": made.terms.headroom,
    }
    for key, value in values.items():
        assert f"| `{key}` | {value:g} |" in GUIDE


def test_seconds_that_are_named_are_those_of_the_manifests():
    assert f"{pod.grace(PLAIN)} s as the defaults are" in GUIDE
    assert f"sleeps for {pod.UNHEARD_S} s" in GUIDE
    assert f"user {pod.USER}" in GUIDE


# -- the image ------------------------------------------------------------------------------------

CONTAINERFILE = (ROOT / "Containerfile").read_text()
_WHOLE = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.MULTILINE))
INSTRUCTIONS = re.findall(r"^([A-Z]+)\s+(.+)$", _WHOLE, re.MULTILINE)
"""Of the Containerfile, in their order."""


def of(name):
    return [" ".join(words.split()) for instruction, words in INSTRUCTIONS if instruction == name]


def test_the_containerfile_has_only_instructions_that_there_are():
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}
    lines = [line for line in CONTAINERFILE.splitlines() if line and not line.startswith(("#", " "))]
    assert {line.split()[0] for line in lines} == known
    assert len(INSTRUCTIONS) == len(lines)


def test_the_image_copies_what_there_is_and_nothing_is_kept_from_it():
    copied = [word for words in of("COPY") if "--from" not in words for word in words.split()[:-1]]
    ignored = (ROOT / ".containerignore").read_text()
    assert (ROOT / ".dockerignore").read_text() == ignored
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}\n" in ignored


def test_the_image_runs_as_the_pods_user_and_in_its_folders():
    [environment] = of("ENV")
    assert of("USER") == [f"{pod.USER}:{pod.USER}"]
    written = {each["name"]: each.get("value") for each in pod.container(PLAIN, "x", [])["env"]}
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        assert f"{name}={written[name]}" in environment.split()
    assert of("ENTRYPOINT") == ['["penstock"]']
    assert of("CMD") == ['["serve", "/models", "--host", "0.0.0.0"]']


def test_the_image_is_of_a_python_that_we_support():
    version = re.search(r"^ARG PYTHON=3\.(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert int(version[1]) >= 11
    assert of("FROM")[0] == "docker.io/library/python:${PYTHON}-slim AS build"
