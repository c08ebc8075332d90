"""A node keeps each version once: whole or not at all, while somebody uses it, and not for ever."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.cluster.ray import parcel
from penstock.cluster.ray.cabinet import Drawer, tidy
from penstock.cluster.ray.parcel import Parcel
from penstock.core.errors import LoadFailed


def version(folder, **files):
    folder.mkdir(parents=True)
    for name, data in files.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return Parcel(folder / "model.bin", folder.name)


def fill(drawer, sent):
    for pieces in sent.pieces():
        drawer.add(pieces)
    drawer.finish()


@pytest.fixture
def base(tmp_path):
    return tmp_path / "cabinet"


def test_files_arrive_as_they_were(tmp_path, base, monkeypatch):
    monkeypatch.setattr(parcel, "CHUNK", 1000)
    files = {"model_bin": os.urandom(2500), "net__weights_bin": os.urandom(1000), "empty_bin": b""}
    sent = version(tmp_path / "1", **files)
    drawer = Drawer(base, sent.manifest)
    assert drawer.missing
    fill(drawer, sent)
    assert drawer.target.read_bytes() == files["model_bin"]
    assert (drawer.target.parent / "net/weights.bin").read_bytes() == files["net__weights_bin"]
    assert (drawer.target.parent / "empty.bin").read_bytes() == b""
    assert max(sum(len(piece.data) for piece in pieces) for pieces in sent.pieces()) == 1000
    drawer.close()
    again = Drawer(base, sent.manifest)
    assert not again.missing
    again.close()


def test_a_version_is_sent_whole_and_a_lone_file_with_what_bears_its_name(tmp_path):
    (tmp_path / "7").mkdir()
    for name in ("model.onnx", "model.onnx.data", "other.txt", ".hidden"):
        (tmp_path / "7" / name).write_text(name)

    def names(*where):
        return [entry.name for entry in Parcel(*where).manifest.entries]

    assert names(tmp_path / "7" / "model.onnx", "7") == ["model.onnx", "model.onnx.data", "other.txt"]
    assert names(tmp_path / "7" / "model.onnx", "1") == ["model.onnx", "model.onnx.data"]
    deep = Parcel(tmp_path / "7" / "model.onnx", tmp_path.name, "7/model.onnx").manifest
    assert deep.target == "7/model.onnx"


def test_the_same_files_are_the_same_version_wherever_they_lie(tmp_path):
    one, two = (version(tmp_path / name / "1", model_bin=b"a") for name in ("a", "b"))
    other = version(tmp_path / "c" / "1", model_bin=b"b")
    assert one.manifest.digest == two.manifest.digest != other.manifest.digest


def test_what_changed_on_the_way_is_not_kept(tmp_path, base):
    sent = version(tmp_path / "1", model_bin=b"before")
    drawer = Drawer(base, sent.manifest)
    (tmp_path / "1" / "model.bin").write_bytes(b"after!")
    with pytest.raises(LoadFailed, match=r"model\.bin changed while it was sent"):
        fill(drawer, sent)
    drawer.close()
    assert [each.name for each in base.iterdir() if each.is_dir()] == []


def test_a_second_instance_waits_for_the_first_and_needs_nothing(tmp_path, base):
    sent = version(tmp_path / "1", model_bin=b"x" * 100)
    first = Drawer(base, sent.manifest)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Drawer, base, sent.manifest)
        fill(first, sent)
        second = waiting.result(10)
    assert not second.missing
    first.close()
    second.close()


def test_the_longest_unused_goes_first_and_what_is_used_stays(tmp_path, base):
    drawers = []
    for at in range(3):
        sent = version(tmp_path / str(at) / "1", model_bin=bytes([at]) * 100)
        drawer = Drawer(base, sent.manifest)
        fill(drawer, sent)
        os.utime(base / f"{sent.manifest.digest}.lock", (at, at))
        drawers.append(drawer)
    drawers[1].close()
    drawers[2].close()
    tidy(base, unused=250)  # the first is the oldest, and in use
    assert [drawer.target.exists() for drawer in drawers] == [True, True, True]
    tidy(base, unused=100)
    assert [drawer.target.exists() for drawer in drawers] == [True, False, True]
    tidy(base, unused=0)
    assert [drawer.target.exists() for drawer in drawers] == [True, False, False]
    drawers[0].close()


def test_what_one_who_died_left_half_filled_goes(tmp_path, base):
    sent = version(tmp_path / "1", model_bin=b"x" * 100)
    half = Drawer(base, sent.manifest)
    half.add(next(iter(sent.pieces())))
    half._lock.close()  # as the kernel does
    tidy(base, unused=1 << 30)
    assert list(base.glob("*.part")) == []
