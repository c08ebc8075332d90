from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.optimize.journal import FILE, Entry, Journal, entry
from penstock.optimize.orders import Make, Try
from penstock.optimize.types import Artefact, Candidate, Offer, Refused
from tests.optimize.outcomes import agreed, trial

ORDER = Make("source", Offer("int8", {"calibrate": "minmax"}))


@pytest.fixture
def artefact(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    return Artefact(name=ORDER.label, file=str(file), engines=("onnx",), seconds=2.0)


def test_what_was_written_is_known_again(tmp_path, artefact):
    journal = Journal(tmp_path)
    journal.write(Entry("usual", baseline=Candidate("source", "onnx", 2, 1)))
    journal.write(entry(ORDER, artefact, 2.0))
    journal.write(entry(Make("source", Offer("prune")), Refused("it has no layers"), 1.0))
    found = Journal(tmp_path)
    assert found.known.artefacts == {"int8[minmax]": artefact}
    assert found.known.refused == {"prune": "it has no layers"}
    assert found.baseline == Candidate("source", "onnx", 2, 1)
    assert found.seconds == 3.0


def test_a_line_that_was_cut_off_is_done_again_and_spoils_nothing(tmp_path, artefact):
    journal = Journal(tmp_path)
    journal.write(entry(ORDER, artefact, 2.0))
    file = tmp_path / FILE
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    again = Journal(tmp_path)
    again.write(entry(Make("source", Offer("prune")), Refused("no"), 1.0))
    assert set(Journal(tmp_path).known.artefacts) == {ORDER.label}
    assert Journal(tmp_path).known.refused == {"prune": "no"}


def test_an_artefact_whose_file_has_gone_is_made_again(tmp_path, artefact):
    Journal(tmp_path).write(entry(ORDER, artefact, 2.0))
    (tmp_path / "model.onnx").unlink()
    assert not Journal(tmp_path).known.artefacts


def test_a_fresh_journal_forgets(tmp_path, artefact):
    Journal(tmp_path).write(entry(ORDER, artefact, 2.0))
    assert not Journal(tmp_path, fresh=True).known.artefacts


def test_a_full_disk_is_said_in_a_sentence(tmp_path, artefact):
    journal = Journal(tmp_path)
    (tmp_path / FILE).symlink_to("/dev/full")
    with pytest.raises(BadSetting, match=r"cannot be written: No space left on device; make room"):
        journal.write(entry(ORDER, artefact, 2.0))


def tried(artefact, depth="full"):
    candidate = Candidate(artefact, "onnx", 1, 1)
    return entry(Try(candidate, depth), trial(candidate, depth, 2.0, agreed(0.0, 0.004)), 9.5)


def test_what_was_measured_of_an_artefact_that_has_gone_says_nothing_of_one_made_anew(tmp_path, artefact):
    journal = Journal(tmp_path)
    for each in (entry(ORDER, artefact, 2.0), tried(ORDER.label, "screen"), tried(ORDER.label)):
        journal.write(each)
    assert len(Journal(tmp_path).known.trials) == 2
    Path(artefact.file).unlink()
    again = Journal(tmp_path)
    assert not again.known.trials
    Path(artefact.file).write_bytes(b"other weights")
    again.write(entry(ORDER, artefact, 2.0))
    again.write(tried(ORDER.label))
    assert [each.depth for each in Journal(tmp_path).known.trials] == ["full"]


def test_a_model_that_was_moved_is_known_where_it_lies_now(tmp_path, artefact):
    source = Artefact(name="source", file="/gone/model.onnx", engines=("onnx",))
    journal = Journal(tmp_path)
    for each in (source, Artefact(name="bf16", file=source.file, engines=("openvino",))):
        journal.write(Entry(each.name, artefact=each))
    found = Journal(tmp_path, source=artefact.file).known.artefacts
    assert {name: each.file for name, each in found.items()} == dict.fromkeys(
        ("source", "bf16"), artefact.file
    )


@pytest.mark.parametrize(
    ("budget", "memory", "known"), [(60.0, 100, True), (600.0, 100, False), (60.0, 1000, False)]
)
def test_what_was_lost_is_tried_again_with_much_more(tmp_path, budget, memory, known):
    lost = entry(ORDER, Refused("it was not done within 60 s"), 60.0, budget=60.0, memory=100)
    Journal(tmp_path).write(lost)
    found = Journal(tmp_path, budget=budget, memory=memory)
    assert (ORDER.label in found.known.refused) == known
    found.write(entry(ORDER, Refused("it has no layers"), 1.0))
    for again in (budget, 60.0):
        assert Journal(tmp_path, budget=again).known.refused == {ORDER.label: "it has no layers"}
