"""``penstock scale`` on a terminal, made-up standings in, words out."""

import io
import json

import pytest
from rich.console import Console

from penstock.cli import scale
from penstock.cli.main import main
from penstock.scaling.words import Standing, Told
from tests.e2e import steady

MOVES = Standing(
    model="digits", version="2", ready=2, wanted=4, least=1, most=8, rate=41.2, forecast=58.0, quantile=0.95,
    method="ridge", burst=1.3, carries=19.6, alone=17.5, wait_ms=337.0, target_ms=400.0, missed=0.0042,
    startup_s=2.1, starts=5, by="forecast", line="41.2 requests/s → 4 instances by forecast",
)  # fmt: skip
STAYS = Standing(model="[b]", version="1", fixed="inline", ready=1, wanted=1, carries=50_000.0)
GONE = Standing(model="cold", version="", least=0, most=2)


def shown(*standings, width=200):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(scale.fitting(list(standings), console))
    return console.file.getvalue()


def test_a_line_says_how_many_there_are_and_shall_be_and_why():
    line = shown(MOVES).splitlines()[1]
    assert " ".join(line.split()) == "digits 2 → 4 1 to 8 41.2 58 19.6 1.3 0.42 % 2.1 s forecast"


def test_what_does_not_move_and_what_is_not_there_are_lines_too():
    lines = shown(STAYS, GONE).splitlines()
    assert lines[1].split() == ["[b]", "1", "50000", "inline"]
    assert lines[2].split()[:5] == ["cold", "none", "0", "to", "2"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(width):
    assert max(map(len, shown(MOVES, STAYS, GONE, width=width).splitlines())) <= width


def test_it_is_explained_by_what_an_instance_carries_and_how_long_it_takes_to_come():
    text = "\n".join(scale.reasons(MOVES))
    assert (
        "works off 19.6 rows/s in batches that leave 337 ms for the queue within its target of 400 ms" in text
    )
    assert "by itself it holds 99 % in time up to 17.5 rows/s" in text
    assert "takes up to 2.1 s to start (19 of 20; 5 measured)" in text
    assert "Last decision: 41.2 requests/s → 4 instances by forecast" in text
    assert "corrected" not in text
    again = scale.reasons(scale.msgspec.structs.replace(MOVES, corrected=0.8))
    assert "What happened under load has corrected that to 80% of what run times say." in again


def test_decisions_are_a_table_with_their_reasons():
    console = Console(width=120, file=io.StringIO(), highlight=False)
    console.print(scale.log([Told(at=1_800_000_000.0, had=1, wanted=3, by="queue", line="[why] → 3")]))
    assert console.file.getvalue().split()[-5:] == ["1", "3", "[why]", "→", "3"]


def test_it_asks_a_server(inside, tmp_path, capsys):
    steady.write(tmp_path, "stays", run=0.001, settings="count = 1")
    url = inside(tmp_path).url

    def said(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["scale", *arguments, "--url", url])
        assert not ended.value.code
        return capsys.readouterr().out

    assert "stays" in said()
    assert "with min or max under [instances] in model.toml it follows the traffic" in said("stays")
    assert "works off" in said("stays", "--explain")
    assert [one["model"] for one in json.loads(said("--json"))] == ["stays"]
    assert json.loads(said("stays", "--json"))["decisions"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--explain"], "penstock scale MODEL --explain"), (["nobody"], "no model 'nobody'")],
)
def test_errors_teach(inside, tmp_path, capsys, arguments, sentence):
    steady.write(tmp_path, "stays", run=0.001, settings="count = 1")
    with pytest.raises(SystemExit) as ended:
        main(["scale", *arguments, "--url", inside(tmp_path).url])
    assert ended.value.code
    assert sentence in capsys.readouterr().err
