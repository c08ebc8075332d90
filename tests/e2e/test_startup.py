"""How soon and how small, loosely: the figures themselves are benchmarks/startup.py's."""

import orjson
import pytest

from benchmarks import startup


@pytest.fixture(scope="module")
def rows():
    return startup.measure(2)


@pytest.mark.parametrize(
    "what", ["start to first answer", "resident after 1,000 requests", "import penstock", "penstock --help"]
)
def test_the_least_of_two_runs_is_within_three_times_the_aim(rows, what):
    row = next(row for row in rows if row["what"] == what)
    assert row["least"] < 3 * row["aim"]


def test_the_benchmark_prints_a_table_and_writes_json(rows, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(startup, "measure", lambda rounds: rows)
    startup.main(["--quick", "--json", str(tmp_path / "out.json")])
    written = orjson.loads((tmp_path / "out.json").read_bytes())
    assert set(written) == {"machine", "title", "rows", "aims"}
    assert "start to first answer" in capsys.readouterr().out
