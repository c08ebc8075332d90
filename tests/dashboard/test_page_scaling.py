"""Instances that move, on the page, in a real Chromium, shown made-up ones."""

import time

from tests.dashboard import scaling
from tests.dashboard.checks import CONTRAST, OVERLAPS, SIDEWAYS, WATCH, WORK
from tests.dashboard.stage import staged
from tests.dashboard.test_page import wait_for

SECTION = "document.querySelector('.scaling')"
SHOWN = "document.querySelector('.decisions time')"
COUNTS = (
    "Object.fromEntries([...document.querySelectorAll('tr.model')]"
    ".map((row) => [row.querySelector('a').textContent, row.querySelector('.c-where').innerText.trim()]))"
)


def opened(page, stage, model="resnet50/1", ready=SHOWN, shown=scaling.shown):
    stage.scaling = shown
    return page.opened(f"{stage.url}#/{model}" if model else stage.url, ready)


def cold(tick):
    for model in tick["models"]:
        if model["name"] == "minilm-embed":
            model |= {"state": "COLD", "instances": 0}
    return tick


def test_what_came_forecast_capacity_and_each_decision_are_shown(page):
    with staged(3) as stage:
        tab = opened(page, stage)
        words = tab.run(f"{SECTION}.innerText")
        for told in (
            "Instances 2 → 4, 1 to 8 allowed",
            "came 16/s",
            "expected 54/s",
            "capacity 29/s",
            "14.6 rows/s within 50 ms",
            "31 ms in the queue",
            "up to 2.31 s (19 of 20; 8 measured)",
            "0.42 % of the last hours' requests",
            "to 93 % of what run times say",
        ):
            assert told in words
        assert scaling.line("resnet50", 0) in tab.run("document.querySelector('.decided').innerText")
        came = tab.run("document.querySelector('.course .line.rate').getAttribute('d')")
        assert came.count("M") == 2  # the server was away for a while
        hours = scaling.history("resnet50", 0)
        over = sum(rate > carried for rate, carried in zip(hours["rate"], hours["capacity"], strict=True))
        assert tab.run("document.querySelector('.course .short').getAttribute('d')").count("M") == over > 10
        now = time.time()
        wanted = [f"{one['had']} → {one['wanted']}" for one in scaling.decisions("resnet50", now)]
        assert tab.run("[...document.querySelectorAll('.decisions b')].map((b) => b.innerText)") == wanted
        times = tab.run("[...document.querySelectorAll('.decisions time')].map((t) => t.dateTime)")
        assert times == sorted(times, reverse=True)
        the_cursor_moves(tab)


def the_cursor_moves(tab):
    """By keys, and the legends tell the time."""
    tab.run("document.querySelector('.course svg').focus()")
    for _ in range(3):
        tab.key("ArrowLeft")
    legends = tab.run("[...document.querySelectorAll('.course .when')].map((node) => node.innerText)")
    assert [words[2] for words in legends] == [":", ":"]
    label = tab.run("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(f"Traffic and capacity; {legends[0]}: came ")
    tab.run("document.activeElement.blur()")
    assert not tab.run("document.querySelector('.course .when').innerText")


def test_the_table_tells_what_is_there_and_what_is_wanted(page):
    with staged(12) as stage:
        stage.change = cold
        page.size(1000, 800)
        tab = opened(page, stage, model="", ready="document.querySelector('tr.model')")
        counts = tab.run(COUNTS)
        assert (counts["resnet50"], counts["churn"], counts["minilm-embed"]) == ("2 → 4", "2", "none")
        assert (counts["fraud-xgb"], counts["ranker"]) == ("3", "–")
        assert stage.asked == []
        page.size(1700, 800)
        tab.until(f"{COUNTS}['resnet50'] === '2 → 4 ×1 cpu thread'")


def test_a_fixed_number_is_a_line_and_says_why(page):
    facts = "document.querySelector('.all > .words .facts')?.innerText ?? ''"
    with staged(3) as stage:
        stage.every = 0.1
        answer, stage.scales = stage.scales, lambda path, now: (404, {"error": "no path"})
        refused = f"({facts}).includes('Capacity\\ncannot be shown: the server said: no path')"
        tab = opened(page, stage, "fraud-xgb/3", ready=refused, shown=lambda now: [])
        assert stage.asked == ["/penstock/scale/fraud-xgb"]
        stage.scales = answer
        tab.run("location.hash = '#/minilm-embed/2'")
        tab.until("document.querySelector('#detail h2').innerText.startsWith('minilm')")
        tab.run("location.hash = '#/fraud-xgb/3'")
        tab.until(f"({facts}).includes('one instance carries 120 rows/s within 50 ms')")
        assert "does not move: min or max under [instances] in model.toml would let it" in tab.run(facts)
        assert tab.run(f"{SECTION}.hidden")
        assert not [path for path in stage.asked if path.endswith("history")]


IMPATIENT = (
    "const real = AbortSignal.timeout.bind(AbortSignal); window.limit = 30;"
    " AbortSignal.timeout = (ms) => real(window.limit ?? ms);"
)


def test_what_went_wrong_is_told_and_it_is_asked_for_again(page):
    said = "document.querySelector('.scaling [role=status]')"
    ready, answers = [2], []

    def slow(path, now):
        time.sleep(0.3)
        return 200, {}

    with staged(3) as stage:
        stage.every = 0.1
        answers += [slow, lambda path, now: (503, {"error": "it is being written"}), stage.scales]
        stage.scales = lambda path, now: answers[0](path, now)
        page.before(IMPATIENT)
        shown = lambda now: [scaling.brief("resnet50", ready=ready[0])]  # noqa: E731
        tab = opened(page, stage, ready=f"{said}?.innerText.includes('no answer in 8 s')", shown=shown)
        tab.run("delete window.limit")
        for wanted in (f"{said}.innerText.includes('it is being written')", f"{SHOWN} && {said}.hidden"):
            answers.pop(0)
            ready[0] += 1  # a change is asked for at once
            tab.until(wanted)


def test_nobody_is_asked_while_nobody_looks_and_a_change_is_asked_for_at_once(page):
    with staged(3) as stage:
        stage.every = 0.05
        tab = opened(page, stage, shown=lambda now: [scaling.brief("resnet50", ready=2 + int(now * 20) % 2)])
        wait_for(lambda: len(stage.asked) > 3)
        assert stage.asked.count("/penstock/scale/resnet50/history") == 1
        tab.run("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
        tab.run("new Promise((done) => setTimeout(done, 100))")
        before, told = len(stage.asked), stage.told
        wait_for(lambda: stage.told > told + 5)
        assert len(stage.asked) == before


def test_an_update_with_six_hours_of_decisions_is_quick(page):
    begun = time.time()

    def answer(path, now):
        told = (
            scaling.history("resnet50", begun, 6.0)
            if path.endswith("history")
            else scaling.standing("resnet50", now)
        )
        return 200, told

    with staged(20) as stage:
        stage.every = 0.05
        stage.scales = answer
        # A minute passes from tick to tick: the charts are drawn anew with each.
        stage.change = lambda tick: tick | {"at": begun + 1200 * (tick["at"] - begun)}
        page.before(WATCH)
        tab = opened(page, stage)
        length = "document.querySelector('.course .line.rate').getAttribute('d').length"
        tab.until(f"{length} > 20000")
        tab.run("window.drawn.length = window.long.length = 0")
        before, was = tab.metrics(), tab.run(length)
        tab.until("window.drawn.length >= 10")
        after, drawn = tab.metrics(), tab.run("window.drawn")
        assert tab.run(length) != was
        assert 1000 * sum(after[name] - before[name] for name in WORK) / len(drawn) < 100
        assert max([*drawn, *tab.run("window.long")]) < 400


def test_it_fits_and_can_be_read(page):
    with staged(12) as stage:
        stage.change = cold
        tab = opened(page, stage)
        for size, scheme in (((360, 760), "light"), ((1000, 800), "dark"), ((1600, 1000), "light")):
            tab.size(*size)
            tab.prefer(color_scheme=scheme)
            tab.run(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
            )
            assert tab.run(SIDEWAYS) == []
            assert tab.run(f"({OVERLAPS})('.scaling')") == []
            assert [text for text in tab.run(CONTRAST) if text["ratio"] < 4.5] == []
