import json
import shutil

import pytest

from penstock.optimize.origin import sha256
from penstock.optimize.start import start
from penstock.optimize.version import RECORD
from penstock.repository.locate import locate


@pytest.fixture
def repository(tmp_path):
    """With ``digits`` in three versions, of which the last two were found by optimizing the one before."""
    folder = tmp_path / "models" / "digits"
    for version in ("1", "2", "3"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.onnx").write_bytes(f"weights of {version}".encode())
    for version, parent in (("2", "1"), ("3", "2")):
        record(folder, version, parent, sha256(locate(f"digits@{parent}", folder.parent)))
    return folder.parent


def record(folder, version, parent, digest):
    told = {"model": "digits", "version": parent, "digest": digest, "choice": {"reasons": []}}
    (folder / version / RECORD).write_text(json.dumps(told))


def test_what_was_found_by_optimizing_is_gone_back_from(repository):
    located, told = start("digits", repository)
    assert (located.version, located.versions) == ("1", ("1", "2", "3"))
    assert told == (
        "starting from version 1, of which 3 was made, so that drops do not add up; digits@3 would start "
        "from that"
    )


def test_by_its_path_it_is_the_same(repository):
    assert start(str(repository / "digits"), repository)[0].version == "1"


@pytest.mark.parametrize("name", ["digits@3", "{}/digits/3"])
def test_a_version_that_is_named_is_taken_as_it_is(repository, name):
    assert start(name.format(repository), repository) == (locate(name.format(repository), repository), "")
    assert start(name.format(repository), repository)[0].version == "3"


def test_what_somebody_made_is_where_it_starts(repository):
    for version in ("2", "3"):
        (repository / "digits" / version / RECORD).unlink()
    located, told = start("digits", repository)
    assert (located.version, told) == ("3", "")


@pytest.mark.parametrize(
    ("spoil", "version", "wrong"),
    [
        (lambda folder: (folder / "1" / "model.onnx").write_bytes(b"others"), "2", "has changed since"),
        (lambda folder: shutil.rmtree(folder / "1"), "2", "is not here"),
        (lambda folder: record(folder, "3", "3", ""), "3", "is not here"),
    ],
)
def test_an_original_that_is_another_now_or_gone_is_said(repository, spoil, version, wrong):
    spoil(repository / "digits")
    located, told = start("digits", repository)
    assert located.version == version
    parent = "3" if version == "3" else "1"
    assert told.endswith(
        f"version {version} was made of {parent}, which {wrong}: what it lost then is not counted, so "
        "drops add up"
    )
    assert told.startswith("starting from version 2") == (version == "2")


def test_versions_that_were_made_of_each_other_are_no_endless_way(repository):
    """One was removed, and written anew from what had been made of it."""
    folder = repository / "digits"
    record(folder, "1", "2", sha256(locate("digits@2", repository)))
    assert start("digits", repository)[0].version == "1"


def test_a_record_that_cannot_be_read_is_none(repository):
    (repository / "digits" / "3" / RECORD).write_text("{")
    assert start("digits", repository)[0].version == "3"
