"""Invented outcomes of searches, for what shows them."""

from penstock.optimize.pick import pick
from penstock.optimize.types import (
    Agreement,
    Artefact,
    Batch,
    Candidate,
    Depth,
    Figures,
    Interval,
    Outcome,
    Step,
    Targets,
    Trial,
)

BASELINE = Candidate("source", "onnx", 2, 1)
ROWS = 673
TARGETS = Targets()
VERSIONS = {"nncf": "3.4.0", "openvino": "2026.4.1"}


def around(mid: float, width: float = 0.04) -> Interval:
    return Interval(mid * (1 - width), mid, mid * (1 + width))


def agreed(drop: float, upper: float, floor: float = 0.01) -> Agreement:
    why = "" if upper <= floor else f"the drop is {drop:.3g} (up to {upper:.3g} at 95 %), more than {floor:g}"
    return Agreement(
        metric="accuracy",
        drop=drop,
        upper=upper,
        max_drop=floor,
        rows=ROWS,
        passed=upper <= floor,
        reference=0.9871,
        value=0.9871 - drop,
        others={"top1": 1 - upper, "cosine": 1 - upper / 10},
        why=why,
    )


def batch(rows: int, gain: float, width: float) -> Batch:
    """The original takes 1.92 ms for one row, and 1.1 ms a row in batches."""
    row = (1.92 if rows == 1 else 1.1) / gain
    return Batch(
        rows=rows,
        run_ms=row * rows,
        p99_ms=1.3 * row * rows,
        rows_per_s=1e3 / row,
        gain=around(gain, width),
        cpu_ms=1.9 * row,
    )


def trial(
    candidate: Candidate,
    depth: Depth,
    gain: float,
    agreement: Agreement,
    *,
    many: float = 0.0,
    megabytes: float = 72.0,
    batched: bool = True,
    repeats: bool = True,
) -> Trial:
    width = 0.18 if depth == "screen" else 0.05
    return Trial(
        candidate=candidate,
        depth=depth,
        figures=Figures(
            rounds=3 if depth == "screen" else 12,
            p50_ms=1.92 / gain,
            p99_ms=2.4 / gain,
            speedup=around(gain, width),
            batches=(
                batch(1, gain, width),
                batch(8, many or gain, width),
                batch(32, (many or gain) * 1.06, width),
            ),
            load_s=0.05 * gain,
            memory_bytes=int(megabytes * 1e6),
            file_bytes=int(2.2e6 if "int8" in candidate.artefact else 8.5e6),
        ),
        agreement=agreement,
        batched=batched,
        repeats=repeats,
        seconds=9.5,
    )


BASE = trial(BASELINE, "full", 1.0, agreed(0.0, 0.00445))
WINNER = Candidate("prune-half+int8-nncf[mixed]", "openvino", 1, 2)
INT8 = Candidate("int8-nncf[mixed]", "openvino", 1, 2)
TRIALS = (
    BASE,
    trial(Candidate("source", "onnx", 1, 2), "full", 1.31, agreed(0.0, 0.00445)),
    trial(Candidate("source", "openvino", 1, 2), "full", 1.38, agreed(0.0, 0.00445), many=1.05, megabytes=81),
    trial(Candidate("source", "openvino", 2, 1), "screen", 0.99, agreed(0.0, 0.00445), megabytes=96),
    trial(Candidate("fuse-onnx", "onnx", 1, 2), "screen", 1.33, agreed(0.0, 0.00445)),
    trial(
        Candidate("half-openvino", "openvino", 1, 2),
        "full",
        1.9,
        agreed(-0.001, 0.0047),
        many=2.2,
        megabytes=66,
    ),
    trial(INT8, "screen", 2.6, agreed(0.001, 0.0061)),
    trial(INT8, "full", 2.81, agreed(0.001, 0.0061), many=3.6, megabytes=52),
    trial(
        Candidate("int8-nncf[mixed]", "openvino", 2, 1),
        "full",
        1.7,
        agreed(0.001, 0.0061),
        many=3.9,
        megabytes=63,
    ),
    trial(Candidate("int8-onnx[minmax]", "onnx", 1, 2), "full", 2.2, agreed(0.004, 0.0117), many=2.1),
    trial(
        Candidate("int8-onnx[entropy]", "onnx", 1, 2),
        "full",
        2.25,
        agreed(0.002, 0.0079),
        many=2.1,
        megabytes=49,
    ),
    trial(Candidate("dynamic-onnx", "onnx", 1, 2), "screen", 0.21, agreed(0.0, 0.00445), batched=False),
    trial(Candidate("int4-onnx", "onnx", 1, 2), "screen", 1.2, agreed(0.21, 0.2402)),
    trial(
        Candidate("prune-half", "openvino", 1, 2), "full", 2.4, agreed(0.002, 0.0074), many=2.5, megabytes=58
    ),
    trial(WINNER, "full", 6.3, agreed(0.003, 0.0089), many=7.4, megabytes=41),
    trial(WINNER, "confirm", 6.1, agreed(0.003, 0.0089), many=7.2, megabytes=41),
)
ARTEFACTS = {
    "source": Artefact(name="source", file="/models/digits/1/model.onnx", engines=("onnx", "openvino")),
    WINNER.artefact: Artefact(
        name=WINNER.artefact,
        file="/scratch/7/model.xml",
        engines=("openvino",),
        steps=(
            Step("prune", {"part": 0.5, "finetuned": True}, {"torch": "2.13.0", "torch-pruning": "1.6.1"}),
            Step("int8-nncf", {"preset": "mixed"}, VERSIONS),
        ),
        settings={"openvino": {"precision": "f32"}},
        bytes=2_200_000,
        seconds=41.0,
    ),
}
REFUSED = {
    "int8-trt of source": "pass 'int8-trt' needs TensorRT: pip install 'penstock[tensorrt]'",
    "half-trt of source": "pass 'half-trt' needs TensorRT: pip install 'penstock[tensorrt]'",
    "compile-torch of source": "the source is not a PyTorch program",
    "int4-onnx on openvino, 1 × 2": "OpenVINO cannot read MatMulNBits of this file",
}


def outcome(trials: tuple[Trial, ...] = TRIALS, targets: Targets = TARGETS) -> Outcome:
    """A search with every kind of end that a trial can have."""
    return Outcome(
        model="digits",
        version="3",
        digest="9f2c41d0" * 8,
        targets=targets,
        choice=pick(BASE, trials, targets),
        baseline=BASELINE,
        trials=trials,
        artefacts=ARTEFACTS,
        refused=REFUSED,
        rows=(224, ROWS),
        labelled=True,
        seconds=412.0,
        complete=True,
        machine={
            "processor": "Example CPU @ 2.9 GHz",
            "cores": 2,
            "memory_gib": 15.6,
            "system": "Linux-6.1-x86_64",
            "python": "3.11.7",
            "packages": {"penstock": "0.1.0", "onnxruntime": "1.32.0", **VERSIONS},
        },
    )


def kept() -> Outcome:
    """A search in which nothing honest beat the original."""
    return outcome(tuple(each for each in TRIALS if each.candidate == BASELINE or not each.agreement.passed))
