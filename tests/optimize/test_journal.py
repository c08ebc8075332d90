import pytest

from penstock.core.errors import BadSetting
from penstock.optimize.journal import FILE, Entry, Journal, entry
from penstock.optimize.search import Make
from penstock.optimize.types import Artefact, Candidate, Offer, Refused

ORDER = Make("source", Offer("int8", {"calibrate": "minmax"}))


@pytest.fixture
def artefact(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    return Artefact(name=ORDER.label, file=str(file), engines=("onnx",), seconds=2.0)


def test_what_was_written_is_known_again(tmp_path, artefact):
    journal = Journal(tmp_path)
    journal.write(Entry("usual", baseline=Candidate("source", "onnx", 2, 1)))
    journal.write(entry(ORDER, artefact))
    journal.write(entry(Make("source", Offer("prune")), Refused("it has no layers", 1.0)))
    found = Journal(tmp_path)
    assert found.known.artefacts == {"int8[minmax]": artefact}
    assert found.known.refused == {"prune": "it has no layers"}
    assert found.baseline == Candidate("source", "onnx", 2, 1)
    assert found.seconds == 3.0


def test_a_line_that_was_cut_off_is_done_again_and_spoils_nothing(tmp_path, artefact):
    journal = Journal(tmp_path)
    journal.write(entry(ORDER, artefact))
    file = tmp_path / FILE
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    again = Journal(tmp_path)
    again.write(entry(Make("source", Offer("prune")), Refused("no")))
    assert set(Journal(tmp_path).known.artefacts) == {ORDER.label}
    assert Journal(tmp_path).known.refused == {"prune": "no"}


def test_an_artefact_whose_file_has_gone_is_made_again(tmp_path, artefact):
    Journal(tmp_path).write(entry(ORDER, artefact))
    (tmp_path / "model.onnx").unlink()
    assert not Journal(tmp_path).known.artefacts


def test_a_fresh_journal_forgets(tmp_path, artefact):
    Journal(tmp_path).write(entry(ORDER, artefact))
    assert not Journal(tmp_path, fresh=True).known.artefacts


def test_a_full_disk_is_said_in_a_sentence(tmp_path, artefact):
    journal = Journal(tmp_path)
    (tmp_path / FILE).symlink_to("/dev/full")
    with pytest.raises(BadSetting, match=r"cannot be written: No space left on device; make room"):
        journal.write(entry(ORDER, artefact))
