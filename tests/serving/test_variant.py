"""Why an optimized version was taken, as its folder tells."""

import asyncio

import msgspec

from penstock.serving.variant import gains


def told(folder):
    return asyncio.run(gains(folder / "model.onnx"))


def test_what_a_variant_gains_is_read_from_its_record(tmp_path):
    reasons = ["int8 on onnx: 2 × faster", "answers: 0.1 % lost at most", "what else: nothing near it"]
    record = {"model": "m", "choice": {"winner": None, "reasons": reasons}, "trials": []}
    (tmp_path / "variant.json").write_bytes(msgspec.json.encode(record))
    assert told(tmp_path) == "int8 on onnx: 2 × faster; answers: 0.1 % lost at most"


def test_no_record_or_another_file_tells_nothing(tmp_path):
    assert told(tmp_path) == ""
    for content in (b"", b"[1]", b'{"choice": 1}', b"\xff\xfe"):
        (tmp_path / "variant.json").write_bytes(content)
        assert told(tmp_path) == ""
