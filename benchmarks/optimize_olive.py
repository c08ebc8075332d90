"""What Olive's ``auto-opt`` and static quantization make of the ONNX models, beside Penstock's version.

Measured as every candidate of a search is: on the same rows, in turns with the original, in each layout.
Run ``python -m benchmarks.optimize`` before, which leaves its versions where they are found.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import report
from benchmarks.optimize import QUICK_ROUNDS, TARGETS, WORK
from benchmarks.optimize_models import MODEL, SUBJECTS, Prepared, prepare
from benchmarks.peer_recipe import Configuration, Peer, PeerFailedError, install
from penstock.core import machine
from penstock.core.errors import LoadFailed
from penstock.optimize import origin, trial
from penstock.optimize.samples import Samples, length
from penstock.optimize.types import Artefact, Candidate, Trial
from penstock.optimize.workshop import Task, Workshop
from penstock.repository.locate import locate

OLIVE = Peer(
    key="olive",
    name="Olive",
    command=[],
    ready="",
    path="",
    request="",
    default=Configuration("as its documentation shows"),
    requires=[
        ["torch==2.13.0"],
        ["olive-ai==0.13.0", "onnxruntime==1.32.0", "requests==2.34.2"],  # imports the last, and does not ask
    ],
)
MODELS = ("cnn", "encoder", "encoder-padded", "mlp")
AUTO = ("int8", "fp32")
"""Precisions to ask ``auto-opt`` for; it takes no data of one's own."""
STATIC = ("Olive static-int8", "Olive static-int8 tuned")
FUSED = {"type": "OrtTransformersOptimization", "model_type": "bert", "num_heads": 12, "hidden_size": 384}
"""Told by hand, as Olive cannot see what an ONNX file is."""
LIMIT = 900.0
"""Seconds for one run of Olive."""
NOWHERE = "http://127.0.0.1:9"
Row = dict[str, Any]


# -- what Olive makes ---------------------------------------------------------------------------------


def auto(model: Path, precision: str, scratch: Path) -> Path:
    """``olive auto-opt`` for the CPU."""
    where = ["--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", precision]
    _olive(["auto-opt", "-m", str(model), *where, "-o", "made", "--disable_telemetry"], scratch)
    return scratch / "made" / "model.onnx"


def static(model: Path, rows: Samples, scratch: Path, *, tuned: bool) -> Path:
    """A workflow of Olive's passes: static int8 (QDQ, per channel), calibrated with our rows.

    ``tuned`` is told what the network is, and to leave alone what gains nothing from int8.
    """
    group = max(rows.groups, key=length)  # its reader of files wants one shape
    for name, array in group.items():
        (scratch / "rows" / name).mkdir(parents=True)
        for at in range(len(array)):
            array[at : at + 1].tofile(scratch / "rows" / name / f"{at:04}.bin")
    fused = {"fused": FUSED} if "ids" in group else {}
    int8: dict[str, Any] = {"type": "OnnxStaticQuantization", "data_config": "given", "per_channel": True}
    if tuned:
        int8["op_types_to_quantize"] = ["Conv", "Gemm", "MatMul"]
        int8["activation_type"] = "uint8"
    workflow = {
        "input_model": {"type": "OnnxModel", "model_path": str(model)},
        "data_configs": [{"name": "given", "type": "RawDataContainer", "load_dataset_config": _read(group)}],
        "passes": {"peephole": {"type": "OnnxPeepholeOptimizer"}, **(fused if tuned else {}), "static": int8},
        "output_dir": "made",
    }
    (scratch / "workflow.json").write_text(json.dumps(workflow))
    _olive(["run", "--config", "workflow.json", "--disable_telemetry"], scratch)
    return next(scratch.glob("made/**/model.onnx"), scratch / "made" / "model.onnx")


def _read(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data_dir": "rows",
        "input_names": list(group),
        "input_shapes": [[1, *array.shape[1:]] for array in group.values()],
        "input_types": [str(array.dtype) for array in group.values()],
    }


def _olive(words: Sequence[str], scratch: Path) -> None:
    """Raises PeerFailedError with its last line.

    Where ``CI`` is not set it reports that it was started before it looks whether it may.
    """
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch), "CI": "1", "OLIVE_DISABLE_TELEMETRY": "1"}
    env |= {"HF_HUB_OFFLINE": "1", "http_proxy": NOWHERE, "https_proxy": NOWHERE}
    command = [str(OLIVE.bin / "olive"), *words]
    try:
        done = subprocess.run(
            command, cwd=scratch, env=env, capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        raise PeerFailedError(f"olive {words[0]} was not done within {LIMIT:.0f} s") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
        raise PeerFailedError(f"olive {words[0]}: {lines[-1][:200]}")


# -- how it is measured -------------------------------------------------------------------------------


@contextmanager
def workshop(prepared: Prepared, scratch: Path) -> Iterator[Workshop]:
    """Where candidates are judged and measured against version 1, on the rows that judge in a search."""
    located = locate(f"{MODEL}@1", prepared.repository)
    calibration, judging = prepared.given.split()
    task = Task(
        spec=located.spec,
        source=origin.original(located),
        targets=TARGETS,
        calibration=calibration,
        judging=judging,
        passes={},
        finetune="",
        memory=int(machine.free_memory() * 0.6),
    )
    with Workshop(task, scratch) as shop:
        yield shop


def measured(shop: Workshop, artefact: Artefact, layouts: Sequence[tuple[int, int]]) -> Trial:
    """The best of the layouts; raises LoadFailed where it does not run."""
    usual = shop.usual()
    made = [
        shop.attempt(artefact, Candidate(artefact.name, artefact.engines[0], *layout), "full", usual)
        for layout in layouts
    ]
    return max(made, key=lambda each: each.figures.speedup.mid)


def ours(prepared: Prepared, work: Path) -> tuple[Artefact, tuple[int, int]]:
    """Version 2 as ``benchmarks.optimize`` left it, and its layout; raises LoadFailed where it did not."""
    repository = work / "runs" / prepared.subject.name / "models"
    if not (repository / MODEL / "2").is_dir():
        raise LoadFailed("no version here; run benchmarks.optimize before")
    located = locate(f"{MODEL}@2", repository)
    told = tomllib.loads((located.file.parent / "model.toml").read_text())
    settings = {name: value for name, value in told.items() if name not in ("engine", "file", "instances")}
    made = origin.original(located)
    artefact = Artefact(name="penstock", file=made.file, engines=(located.spec.engine,), settings=settings)
    return artefact, (located.spec.instances.count, located.spec.instances.threads)


# -- the table ----------------------------------------------------------------------------------------


def rows_of(prepared: Prepared, work: Path, tools: Sequence[str]) -> Iterator[Row]:
    layouts = origin.layouts(locate(f"{MODEL}@1", prepared.repository).spec, len(machine.cores()))
    for tool in tools:
        with tempfile.TemporaryDirectory(prefix="olive-") as room:
            scratch = Path(room)
            row: Row = {"model": prepared.subject.name, "by": tool}
            began = time.monotonic()
            try:
                artefact, laid = _made(tool, prepared, work, scratch)
                row["seconds"] = time.monotonic() - began if laid is None else None
                with workshop(prepared, scratch) as shop:
                    yield row | _figures(measured(shop, artefact, layouts if laid is None else [laid]))
            except (PeerFailedError, LoadFailed) as failure:
                yield row | {"note": str(failure)}
        print(f"{prepared.subject.name:16}{tool}", file=sys.stderr, flush=True)


def _made(
    tool: str, prepared: Prepared, work: Path, scratch: Path
) -> tuple[Artefact, tuple[int, int] | None]:
    """(what it made, the layout that belongs to it)."""
    if tool == "Penstock":
        return ours(prepared, work)
    if OLIVE.missing:
        raise PeerFailedError(OLIVE.missing)
    _, kind, *how = tool.split()
    calibration, _ = prepared.given.split()
    file = (
        auto(prepared.file, how[0], scratch)
        if kind == "auto-opt"
        else static(prepared.file, calibration, scratch, tuned="tuned" in how)
    )
    return Artefact(name=tool, file=str(file), engines=("onnx",), bytes=file.stat().st_size), None


def _figures(found: Trial) -> Row:
    agreement, candidate = found.agreement, found.candidate
    notes = [agreement.why, "" if found.batched else "answers depend on batch-mates"]
    return {
        "on": f"{candidate.engine}, {candidate.instances} × {candidate.threads}",
        "p50 ms": found.figures.p50_ms,
        "latency ×": found.figures.speedup.mid,
        "95 %": f"{found.figures.speedup.low:.2f}–{found.figures.speedup.high:.2f}",
        "metric": agreement.metric,
        "drop": agreement.drop,
        "drop up to": agreement.upper,
        "floor held": "yes" if agreement.passed else "NO",
        "note": "; ".join(note for note in notes if note),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: the MLP, fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and the machine's facts")
    parser.add_argument("--install", action="store_true", help="first install Olive below benchmarks/.peers")
    parser.add_argument("--models", type=lambda text: text.split(","), help=f"some of {','.join(MODELS)}")
    parser.add_argument("--work", type=Path, default=WORK, help="where benchmarks.optimize keeps its models")
    given = parser.parse_args(arguments)
    wanted = given.models or (MODELS[-1:] if given.quick else MODELS)
    if set(wanted) - set(MODELS):
        parser.error(f"no {', '.join(sorted(set(wanted) - set(MODELS)))}; have {', '.join(MODELS)}")
    if given.install and OLIVE.missing:
        install(OLIVE)
    if given.quick:
        trial.ROUNDS.update(QUICK_ROUNDS)
    tools = ["Penstock", *(f"Olive auto-opt {precision}" for precision in AUTO), *STATIC]
    rows = [
        row
        for subject in SUBJECTS
        if subject.name in wanted
        for row in rows_of(prepare(subject, given.work / "subjects"), given.work, tools)
    ]
    report(rows, (), given.json, title="Olive 0.13.0, one row at a time")


if __name__ == "__main__":
    main()
