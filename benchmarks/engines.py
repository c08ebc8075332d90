"""What isolation costs, what engines reach through the server, and what kill -9 of an instance loses."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from benchmarks import engine_contest, isolation, kills
from benchmarks.engine_models import KINDS
from benchmarks.machine import Aim, Row, facts, report
from benchmarks.overhead import LOAD_CORE, SERVER_CORE

PARTS = ("isolation", "engines", "kills")


class Told:
    """Prints tables as they come, and keeps all of them for the file."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.aims: list[Aim] = []
        self.met = True

    def __call__(self, title: str, rows: Sequence[Row], aims: Sequence[Aim] = ()) -> None:
        if rows:
            self.met = report(rows, aims, title=title) and self.met
            self.rows += [{"table": title.partition(":")[0], **row} for row in rows]
            self.aims += aims

    def write(self, path: Path) -> None:
        """As the other benchmarks' files; the tables' rows one after another, each with its table's name."""
        content = {"machine": facts(), "title": "engines", "rows": self.rows, "aims": self.aims}
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))


def main(arguments: list[str] | None = None) -> int:
    """0 if every aim is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, ten kills, no tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument(
        "--rounds", type=int, default=0, help="interleaved rounds of the engines (5, quick 2)"
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="only this; may be given several times"
    )
    names = [kind.name for kind in KINDS]
    parser.add_argument("--engine", action="append", choices=names, help="only this; likewise")
    given = parser.parse_args(arguments)
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed: apt-get install wrk util-linux")
    parts, told = given.part or PARTS, Told()
    if "isolation" in parts:
        rows, aims = isolation.measure(quick=given.quick)
        told("isolation: a batch of four requests through a crew, in a thread and in a process", rows, aims)
    if "engines" in parts:
        wanted = given.engine or [kind.name for kind in KINDS if not (given.quick and kind.table)]
        rounds = given.rounds or (2 if given.quick else 5)
        for table, name in ((False, "MEDIUM"), (True, "small models of a table")):
            kinds = [kind for kind in KINDS if kind.name in wanted and kind.table == table]
            seconds = 1 if given.quick else 2 if table else 8
            where = f"server on core {SERVER_CORE}, wrk on core {LOAD_CORE}, {rounds} rounds of {seconds} s"
            if kinds:
                rows, aims = engine_contest.measure(kinds, rounds, seconds)
                told(f"{name}, one instance of one thread, one row a request; {where}", rows, aims)
    if "kills" in parts:
        rows, aims = kills.measure(10 if given.quick else 50)
        told("kill -9 of processes that serve MEDIUM, two instances, eight callers", rows, aims)
    if given.json:
        told.write(given.json)
    return 0 if told.met else 1


if __name__ == "__main__":
    sys.exit(main())
