"""Penstock beside the servers that install from the package index, on the same two models.

Every peer runs in its default and its tuned configuration (see peers/README.md).
Server processes are on core 0, wrk is on core 1.
All are started once, and those whose turn it is not are stopped with SIGSTOP, so that rounds interleave
(A B C, A B C, …) without a peer paying for its neighbours.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import fixtures, machine
from benchmarks.peer_entrant import CONNECTIONS, Entrant
from benchmarks.peer_load import Question
from benchmarks.peer_recipe import Peer, PeerFailedError, install, load

PEERS = ("penstock", "torchserve", "pytriton", "mlserver", "kserve", "litserve", "bentoml", "ray")
"""In the order of earlier measurements, so that a quick run that runs out of time has met the best."""
MODELS = {"tiny": fixtures.tiny, "medium": fixtures.medium}
QUICK_S = 28.0
"""No entrant of a quick run starts later than this; what is started then takes its turn."""
AIMS = {
    "tiny": (f"TINY at {CONNECTIONS} connections: at least 5 × the best peer", 5.0),
    "medium": ("MEDIUM: first or equal (>= 0.97 × best peer)", 0.97),
}


def race(entrants: Sequence[Entrant], work: Path, rounds: int, seconds: int, deadline: float) -> None:
    """Start all entrants of one model, measure them in turns, and end them whatever happens."""
    name = entrants[0].model
    model = fixtures.write(work / f"repo-{name}", "m", "1", MODELS[name]())
    question = Question(model, model.parent)
    try:
        for number, entrant in enumerate(entrants):
            _attempt(entrant, deadline, "start", question, model, work / f"{name}{number}")
        for _ in range(rounds):
            for entrant in entrants:
                _attempt(entrant, float("inf"), "take_turn", question, seconds)
    finally:
        for entrant in entrants:
            if entrant.server is not None:
                entrant.server.terminate()
        for entrant in entrants:
            entrant.stop()


def _attempt(entrant: Entrant, deadline: float, step: str, *arguments: Any) -> None:
    """One step of one entrant; where it fails the entrant is out, with the reason, and the others go on."""
    if entrant.failed:
        return
    if time.monotonic() > deadline:
        entrant.failed = "not reached: --quick was out of time"
        return
    try:
        getattr(entrant, step)(*arguments)
    except PeerFailedError as failure:
        entrant.failed = str(failure)
        entrant.stop()
    state = entrant.failed or f"{step.replace('_', ' ')} done"
    print(f"{entrant.model:7}{entrant.peer.name:11}{entrant.configuration:8} {state}", file=sys.stderr)


def aims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was aimed at, by the rows: Penstock's rate over the best peer's; unknown where one is missing."""
    found = []
    for model, (text, floor) in AIMS.items():
        rates = [(row["peer"], row.get("req/s")) for row in rows if row["model"] == model]
        ours = max((rate for peer, rate in rates if peer == "Penstock" and rate), default=None)
        best = max((rate for peer, rate in rates if peer != "Penstock" and rate), default=None)
        got = ours / best if ours and best else None
        if rates:
            found.append(
                {"name": f"peers: {model}", "aim": text, "got": got, "met": bool(got and got >= floor)}
            )
    return found


def _enter(options: argparse.Namespace) -> list[Entrant]:
    """Who takes part; those that can't are in the list too, with the reason."""
    entrants = []
    for key in PEERS:
        peer = load(key)
        if options.only and key not in {"penstock", *options.only}:
            continue
        failed = peer.missing
        if options.install and failed.startswith("not installed"):
            print(f"installing {peer.name} …", file=sys.stderr)
            failed = _installed(peer)
        names = list(peer.configurations)[-1:] if options.quick else list(peer.configurations)
        models = ["tiny"] if options.quick else list(options.models)
        entrants += [Entrant(peer, name, model, failed=failed) for model in models for name in names]
    return entrants


def _installed(peer: Peer) -> str:
    try:
        install(peer)
    except PeerFailedError as failure:
        return str(failure)
    return ""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="under a minute: TINY, tuned, one short round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and machine to FILE")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"some of {','.join(PEERS[1:])}")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--install", action="store_true", help="first install the peers that are not")
    parser.add_argument("--duration", type=int, default=2, metavar="S", help="of a measurement (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of measurements (3)")
    options = parser.parse_args(arguments)
    unknown = {*(options.only or ())} - {*PEERS} or {*options.models} - {*MODELS}
    if unknown:
        parser.error(f"no {', '.join(sorted(unknown))}; have {', '.join((*PEERS, *MODELS))}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and report it."""
    options = _options(arguments)
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed; `apt-get install wrk` gives it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    entrants = _enter(options)
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.duration)
    deadline = time.monotonic() + (QUICK_S if options.quick else float("inf"))
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as work:
        for model in MODELS:
            group = [entrant for entrant in entrants if entrant.model == model]
            if group:
                race(group, Path(work), rounds, seconds, deadline)
    ours = {each.model: each for each in entrants if each.peer.key == "penstock"}
    rows = [each.row(ours.get(each.model)) for each in entrants]
    found = aims(rows)
    machine.report(rows, found, title=f"{CONNECTIONS} connections")
    if options.json:
        records = [each.record(row) for each, row in zip(entrants, rows, strict=True)]
        content = {"machine": machine.facts(), "rows": records, "aims": found}
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
