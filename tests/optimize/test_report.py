import re
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest
from msgspec.structs import asdict, replace

from penstock.optimize.plot import HEIGHT, WIDTH, across, downward
from penstock.optimize.report import render
from penstock.optimize.report_table import digits, entries, percent
from penstock.optimize.types import Candidate, Interval, Targets
from tests.optimize import outcomes

ALONE = {"meta", "circle", "line", "path", "rect", "br"}
HOSTILE = "<script>alert('x')</script>&\"><img src=x>"


class Page(HTMLParser):
    """Tags with their attributes, and the text; checks that tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = Counter(), [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in ALONE:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def text(outcome):
    return re.sub(r"\s+", " ", " ".join(Page(render(outcome)).text))


def hostile(value, name=""):
    """With markup at the end of every text that a model, a pass or a library can choose."""
    if isinstance(value, msgspec.Struct):
        return replace(value, **{each: hostile(old, each) for each, old in asdict(value).items()})
    if isinstance(value, dict):
        return {hostile(key): hostile(old) for key, old in value.items()}
    if isinstance(value, tuple):
        return tuple(hostile(each) for each in value)
    return value + HOSTILE if isinstance(value, str) and name not in ("minimize", "depth") else value


# -- what a page tells --------------------------------------------------------------------------------


def test_the_choice_is_one_big_number_and_what_became_of_the_answers():
    told = text(outcomes.outcome())
    assert "6.1 × faster, accuracy falls by at most 0.89 %" in told
    assert all(reason in told for reason in outcomes.outcome().choice.reasons)


def test_answers_that_lost_nothing_are_called_unchanged():
    trials = (outcomes.BASE, outcomes.trial(outcomes.INT8, "full", 2.0, outcomes.agreed(0.0, 0.00445)))
    assert "2.0 × faster, accuracy unchanged within 0.45 %" in text(outcomes.outcome(trials))


def test_without_a_winner_the_original_is_kept():
    told = text(outcomes.kept())
    assert "Keep the original" in told
    assert "How the chosen one is made" not in told


def test_a_p99_that_only_the_winner_holds_is_the_headline():
    told = text(outcomes.outcome(targets=Targets(p99_ms=1.0)))
    assert "0.393 ms p99, 1 ms wanted, 2.4 ms with the original" in told


@pytest.mark.parametrize(
    ("minimize", "words"),
    [("throughput", "as many rows"), ("cost", "less processor time"), ("latency", "faster")],
)
def test_gains_are_named_by_the_objective(minimize, words):
    assert f"× {words}, accuracy " in text(outcomes.outcome(targets=Targets(minimize=minimize)))


def test_every_candidate_has_one_row_at_its_deepest():
    rows = entries(outcomes.outcome())
    assert len({each.candidate for each in outcomes.TRIALS}) == len(rows)
    assert list(range(1, len(rows) + 1)) == [each.number for each in rows]
    assert [(each.kind, each.trial.depth) for each in rows[:2]] == [
        ("chosen", "confirm"),
        ("original", "full"),
    ]
    assert 1 + len(rows) == Page(render(outcomes.outcome())).tags["tr"]


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (outcomes.WINNER, "chosen"),
        (outcomes.BASELINE, "original"),
        (outcomes.INT8, "on the front"),
        (Candidate("int8-onnx[minmax]", "onnx", 1, 2), "answers not held"),
        (Candidate("fuse-onnx", "onnx", 1, 2), "screened only"),
        (Candidate("dynamic-onnx", "onnx", 1, 2), "no gain"),
        (Candidate("prune-half", "openvino", 1, 2), "beaten"),
    ],
)
def test_verdicts_say_what_became_of_each(candidate, verdict):
    rows = {each.trial.candidate: each.verdict for each in entries(outcomes.outcome())}
    assert verdict == rows[candidate]


def test_rows_that_may_not_be_batched_are_not_credited_with_batches():
    rows = {each.trial.candidate.artefact: each.best.rows for each in entries(outcomes.outcome())}
    assert rows["dynamic-onnx"] == 1


def test_what_could_not_be_made_is_told_once_a_reason():
    told = text(outcomes.outcome())
    assert "int8-trt of source; half-trt of source needs TensorRT" in told
    assert "OpenVINO cannot read MatMulNBits of this file" in told


def test_everything_that_was_rejected_is_told_with_its_reason():
    found = outcomes.outcome()
    told = text(found)
    assert all(label in told and why in told for label, why in found.choice.rejected.items())


def test_a_page_tells_how_it_was_measured():
    told = text(outcomes.outcome())
    for words in (
        "224 calibrated, 673 others judged, with labels",
        "original against itself: 1.00 × (0.95–1.05)",
    ):
        assert words in told
    for words in ("Example CPU @ 2.9 GHz, 2 cores", "onnxruntime 1.32.0", "torch-pruning 1.6.1", "9f2c41d0"):
        assert words in told


def test_the_budget_is_named_where_it_ended_the_search():
    assert "the budget ended the search" in text(replace(outcomes.outcome(), complete=False))


def test_energy_that_nobody_measured_is_a_dash():
    assert "–" in text(outcomes.outcome(targets=Targets(minimize="energy")))


def test_a_search_in_which_only_the_original_ran_has_a_page():
    assert "Keep the original" in text(outcomes.outcome((outcomes.BASE,)))


def test_a_floor_of_nothing_can_be_drawn():
    assert "Keep the original" in text(outcomes.outcome(targets=Targets(max_drop=0.0)))


# -- what a page is -----------------------------------------------------------------------------------


def test_a_page_needs_nothing_from_elsewhere():
    html = render(outcomes.outcome())
    assert Page(html).tags["script"] == 0
    assert re.findall(r"(?:src|href|url|@import|https?:)\W", html) == []


def test_text_is_escaped_wherever_it_comes_from():
    found = outcomes.outcome()
    facts = hostile({key: str(value) for key, value in found.machine.items()})
    html = render(replace(hostile(found), machine=facts | {"packages": {HOSTILE: HOSTILE}}))
    page = Page(html)
    assert (page.tags["script"], page.tags["img"]) == (0, 0)
    assert html.count("&lt;script&gt;") > 50
    assert {name for name, _ in page.attributes if name.startswith("on") or name == "src"} == set()


def test_dark_is_for_screens_only():
    assert "@media screen and (prefers-color-scheme: dark)" in render(outcomes.outcome())


def test_a_page_is_the_same_each_time():
    assert render(outcomes.outcome()) == render(outcomes.outcome())


# -- plots and numbers --------------------------------------------------------------------------------


def test_marks_and_labels_lie_within_their_plots():
    html = render(outcomes.outcome())
    for x, y in re.findall(r'translate\(([-\d.]+) ([-\d.]+)\)|<text class="name', html):
        assert not x or (0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT)


def test_labels_do_not_lie_on_each_other():
    for plot in re.findall(r'<svg class="plot".*?</svg>', render(outcomes.outcome()), re.DOTALL):
        found = re.findall(r'<text class="name[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)', plot)
        boxes = [(float(x), float(y), 3 * len(words)) for x, y, words in found]
        assert len(boxes) > 8
        for at, (x, y, half) in enumerate(boxes):
            for other_x, other_y, other in boxes[at + 1 :]:
                assert abs(x - other_x) >= half + other or abs(y - other_y) >= 10


def test_tiles_compare_what_was_measured_in_the_same_rounds():
    """The original's own trial was in a slow moment: all of it took twice as long."""
    slow = outcomes.BASE.figures
    batches = tuple(
        replace(each, run_ms=2 * each.run_ms, rows_per_s=each.rows_per_s / 2) for each in slow.batches
    )
    base = replace(outcomes.BASE, figures=replace(slow, p50_ms=3.84, batches=batches))
    won = outcomes.TRIALS[-1]
    won = replace(won, figures=replace(won.figures, beside_ms=1.92))
    told = text(outcomes.outcome((base, *outcomes.TRIALS[1:-1], won)))
    after, gain = won.figures.batches[-1].rows_per_s, won.figures.batches[-1].gain.mid
    assert f"One row takes {digits(1.92 / 6.1)} ms was 1.92 ms" in told
    assert f"Rows a second, at best {after:,.0f} was {after / gain:,.0f}" in told


def test_what_lies_beyond_an_axis_is_drawn_at_its_end_with_its_number():
    assert "14 ↓ 24 %" in text(outcomes.outcome())


@pytest.mark.parametrize("values", [[1.0], [0.9, 1.1], [0.01, 5000.0], [3.0, 4.0, 9.0], [0.0]])
def test_ticks_are_few_and_within_the_axis(values):
    axis = across("", values)
    assert 2 <= len(axis.ticks()) <= 6
    assert all(axis.low <= each <= axis.high for each in axis.ticks())


def test_an_axis_of_drops_begins_above_nothing():
    axis = downward("", 2.5)
    assert axis.ticks() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert axis.at(0.0) > axis.start
    assert axis.end == axis.at(99.0)


@pytest.mark.parametrize(
    ("value", "told"), [(0.8, "0.800"), (12.345, "12.3"), (964.2, "964"), (69381.0, "69,381"), (0.0, "0")]
)
def test_numbers_have_the_digits_that_mean_something(value, told):
    assert told == digits(value)


@pytest.mark.parametrize(
    ("part", "told"),
    [(1.5e-13, "0 %"), (-2e-9, "0 %"), (0.0089, "0.89 %"), (-0.001, "−0.1 %"), (1.5, "150 %"), (-0.0, "0 %")],
)
def test_drops_are_told_in_hundredths(part, told):
    assert told == percent(part).replace("\u00a0", " ")


def test_a_gain_that_nobody_knows_is_not_drawn():
    found = outcomes.outcome(targets=Targets(minimize="energy"))
    assert {None} == {each.gain for each in entries(found)} - {Interval(1.0, 1.0, 1.0)}
