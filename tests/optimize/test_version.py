import errno
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.optimize import version
from penstock.optimize.types import Artefact, Candidate, Choice
from penstock.optimize.version import inherited, next_version, settings, toml, write
from penstock.repository.locate import locate
from penstock.repository.spec import overlay
from penstock.repository.versions import natural
from tests.optimize import outcomes

ARTEFACT = Artefact(name="int8", file="/there/model.xml", engines=("openvino",))
WINNER = Candidate("int8", "openvino", 1, 2)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["1"], "2"),
        (["1", "9", "10"], "11"),
        (["v1", "v9"], "v10"),
        (["2024-01"], "2024-2"),
        (["blue"], "blue-2"),
    ],
)
def test_the_next_version_comes_after_all_that_are_there(versions, expected):
    assert expected == next_version(versions, versions[0])
    assert natural(expected) > max(map(natural, versions))


scalars = st.one_of(
    st.text(), st.integers(-(2**62), 2**62), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
tables = st.recursive(
    st.dictionaries(st.text(min_size=1), scalars, max_size=4),
    lambda inner: st.dictionaries(st.text(min_size=1), st.one_of(scalars, inner), max_size=4),
    max_leaves=12,
)


def bare(values):
    """Without tables that say nothing, which are not written."""
    kept = {key: bare(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in kept.items() if value != {}}


@given(tables)
def test_what_is_written_as_toml_is_read_as_it_was(values):
    assert bare(values) == bare(tomllib.loads(toml(values)))


def test_settings_hold_the_layout_the_engine_and_what_the_artefact_needs():
    artefact = Artefact(
        name="bf16",
        file="/there/model.onnx",
        engines=("openvino",),
        settings={"openvino": {"precision": "bf16"}},
    )
    values = settings(artefact, WINNER, Choice(winner=WINNER, max_rows=16), 20.0)
    spec = overlay(ModelSpec(), tomllib.loads(toml(values)))
    assert (spec.engine, spec.file, spec.openvino.precision) == ("openvino", "model.onnx", "bf16")
    assert (
        spec.instances.count, spec.instances.threads, spec.batching.max_rows, spec.target.p99_ms,
    ) == (1, 2, 16, 20.0)  # fmt: skip


@pytest.mark.parametrize(("alone", "max_rows"), [(True, 0), (False, 1)])
def test_rows_that_influence_each_other_are_never_batched(alone, max_rows):
    artefact = Artefact(name="dynamic", file="/there/model.onnx", engines=("onnx",), alone=alone)
    values = settings(artefact, WINNER, Choice(winner=WINNER, max_rows=max_rows), 0.0)
    assert values["batching"] == {"policy": "none"}


def test_strings_of_json_are_strings_of_toml():
    text = 'quotes " and \\ and \n and ü'
    assert text == tomllib.loads(f"x = {json.dumps(text)}")["x"]


@pytest.fixture
def located(tmp_path):
    """A model with settings, and its version with its own over them."""
    folder = tmp_path / "models" / "digits"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"weights")
    (folder / "model.toml").write_text("[queue]\nmax_rows = 99\n")
    tensor = '{name = "x", datatype = "FP32", shape = [-1, 4]}'
    own = f"inputs = [{tensor}]\n[onnx.session]\ngraph_optimization_level = 'ORT_DISABLE_ALL'\n"
    (folder / "1" / "model.toml").write_text(own)
    return locate("digits", tmp_path / "models")


@pytest.mark.parametrize("inside", [True, False])
def test_a_version_is_run_with_the_settings_that_it_was_measured_with(located, inside, tmp_path):
    """Those of the version, and where it does not lie in the model's folder those of the model."""
    target = located.folder / "2" if inside else tmp_path / "elsewhere" / "digits" / "1"
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(b"other weights")
    (target / "model.toml").write_text(toml(inherited(located, target)))
    found = locate(str(target), tmp_path / "none").spec
    assert replace(found, name="") == replace(located.spec, name="")
    assert ("queue" in (target / "model.toml").read_text()) != inside


def tree(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


@pytest.fixture
def made(tmp_path):
    """An outcome whose winner has its weights beside it."""
    file = tmp_path / "made" / "model.xml"
    (file.parent / "more").mkdir(parents=True)
    for each in (file, file.with_suffix(".bin"), file.parent / "more" / "vocabulary"):
        each.write_bytes(b"something")
    found = outcomes.outcome()
    artefact = replace(found.artefacts[outcomes.WINNER.artefact], file=str(file))
    return replace(found, artefacts={**found.artefacts, artefact.name: artefact})


def test_a_version_is_written_with_all_that_lies_beside_the_artefact(made, tmp_path):
    write(tmp_path / "models" / "2", made, [], {})
    files = [
        "2",
        "2/model.bin",
        "2/model.toml",
        "2/model.xml",
        "2/more",
        "2/more/vocabulary",
        "2/variant.json",
    ]
    assert tree(tmp_path / "models") == files


def test_one_that_is_only_run_otherwise_gets_the_originals_files_and_nothing_else(made, tmp_path):
    """Other models' files may lie beside it."""
    file = Path(made.artefacts[outcomes.WINNER.artefact].file)
    write(tmp_path / "models" / "2", made, [file], {})
    assert tree(tmp_path / "models") == ["2", "2/model.toml", "2/model.xml", "2/variant.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "2 cannot be written: No space left on device"),
        (KeyboardInterrupt("stop"), "stop"),
    ],
)
def test_what_fails_half_way_leaves_nothing(made, tmp_path, monkeypatch, error, said):
    def fails(_):
        raise error

    monkeypatch.setattr(version, "record", fails)
    (tmp_path / "models").mkdir()
    with pytest.raises((BadSetting, KeyboardInterrupt), match=said):
        write(tmp_path / "models" / "2", made, [], {})
    assert tree(tmp_path / "models") == []


def test_a_draft_that_a_crash_has_left_is_replaced(made, tmp_path):
    draft = tmp_path / "models" / ".2.part"
    draft.mkdir(parents=True)
    (draft / "model.onnx").write_bytes(b"half of it")
    write(tmp_path / "models" / "2", made, [], {})
    assert "2/model.onnx" not in tree(tmp_path / "models")
    assert not draft.exists()


def test_a_folder_that_is_taken_stays_as_it_is(made, tmp_path):
    (tmp_path / "models" / "2").mkdir(parents=True)
    (tmp_path / "models" / "2" / "mine").touch()
    with pytest.raises(BadSetting, match="2 is there already; name another folder"):
        write(tmp_path / "models" / "2", made, [], {})
    assert tree(tmp_path / "models") == ["2", "2/mine"]


def test_without_a_winner_there_is_nothing_to_write(tmp_path):
    with pytest.raises(BadSetting, match="the original is kept"):
        write(tmp_path / "2", outcomes.kept(), [], {})


def test_tables_in_lists_are_written_as_toml_has_them():
    values = {"inputs": [{"name": "x", "shape": [-1, 4]}, {"name": 'y "z"'}]}
    assert values == tomllib.loads(toml(values))
