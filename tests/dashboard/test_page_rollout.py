"""Rollouts on the page, in a real Chromium, shown made-up ones."""

import time
from statistics import median

import pytest

from tests.dashboard import rollouts
from tests.dashboard.checks import CONTRAST, SIDEWAYS, WATCH, WORK
from tests.dashboard.stage import staged
from tests.dashboard.test_page import NASTY, answer, click

CARD = "document.querySelector('.rollout')"
GUARDS = "[...document.querySelectorAll('.rollout[data-open] .guard')]"
BUTTONS = (
    f"[...{CARD}.querySelectorAll('.acts button')].filter((b) => b.checkVisibility()).map((b) => b.innerText)"
)
UNFOLD = "document.querySelectorAll('.rollout h3 button[aria-expanded=false]').forEach((b) => b.click())"
BARS = f"{GUARDS}.map((row) => parseFloat(row.querySelector('.bar').getAttribute('width')))"


def opened(page, stage, shown=None, where="", ready=CARD):
    began = time.time() - 840
    stage.rollouts = shown or (lambda now: [rollouts.canary(now, began=began)])
    return page.opened(stage.url + where, ready)


def text(tab, selector):
    return tab.run(f"document.querySelector({selector!r})?.innerText ?? ''")


def told(words):
    return f"document.querySelector('#say').innerText.includes({words!r})"


def test_there_is_nothing_of_rollouts_where_there_are_none(page):
    with staged(3) as stage:
        tab = opened(page, stage, lambda now: [], ready="document.querySelector('tr.model')")
        assert tab.run("document.querySelector('#rollouts').hidden")


def test_stages_traffic_and_guards_are_shown(page):
    with staged(3) as stage:
        tab = opened(page, stage)
        steps = tab.run(
            "[...document.querySelectorAll('.track li')].map((li) => [li.dataset.is, li.innerText])"
        )
        assert [is_ for is_, _ in steps] == ["done", "now", "next", "next", "next"]
        assert [words.split() for _, words in steps[:2]] == [
            ["1", "%", "done", "in", "9", "min"],
            ["5", "%", "now,", "for", "5", "min"],
        ]
        assert tab.run("document.querySelectorAll('.track [aria-current=step]').length") == 1
        head = tab.run(f"{CARD}.innerText")
        for words in (
            "version 1 → 2",
            "canary",
            "running",
            "stage 2 of 5",
            "4 not yet",
            "3 pass",
            "p99, cost",
        ):
            assert words in head
        assert "3 saved: failed on version 2" in text(tab, ".notes")
        rows = dict(tab.run(f"{GUARDS}.map((r) => [r.querySelector('b').innerText, r.innerText])"))
        assert list(rows) == ["Errors", "Time-outs", "p50", "p95", "p99", "Cost", "Answers"]
        wanted = {
            "Errors": ["pass", "×0.86"],
            "p99": ["not yet", "×1.03", "requests more, about"],
            "Answers": ["0.6 %", "some 310 pairs more, about 1 min"],
        }
        for name, each in wanted.items():
            assert [words for words in each if words not in rows[name]] == []
        assert "more" not in rows["Errors"]


def test_guards_that_cannot_say_anything_are_one_line_with_reasons_on_demand(page):
    with staged(1) as stage:
        tab = opened(page, stage)
        assert "3 guards say nothing here: energy, outputs, accuracy" in text(tab, ".off")
        assert rollouts.ENGINE not in text(tab, ".off")
        tab.run("document.querySelector('.off summary').click()")
        assert rollouts.ENGINE in text(tab, ".off")


def test_an_interval_closes_in_and_nothing_is_built_anew(page):
    with staged(1) as stage:
        stage.every = 0.05
        share = [0.1]
        tab = opened(page, stage, lambda now: [rollouts.canary(now, share[0])])
        wide = tab.run(BARS)
        tab.run(f"window.kept = [{CARD}, ...{GUARDS}]")
        said = tab.run(f"{GUARDS}[4].querySelector('svg.interval').getAttribute('aria-label')")
        assert said.startswith("effect ×1.03, interval ×0.")
        assert said.endswith("alarm over ×1.1, pass under ×1.5")
        share[0] = 0.4
        tab.until(f"({BARS})[4] < {wide[4] * 0.8}")
        assert all(now <= before for now, before in zip(tab.run(BARS), wide, strict=True))
        assert tab.run(f"[{CARD}, ...{GUARDS}].every((node, i) => node === window.kept[i])")


def test_an_axis_is_logarithmic_for_ratios_and_starts_at_nothing_for_parts(page):
    with staged(1) as stage:
        tab = opened(page, stage)
        at = tab.run(
            "import('./penstock/page/interval.js').then(({ scale }) => {"
            " const ratio = scale({ name: 'p99', alarm: 1.1, target: 1.5 });"
            " const part = scale({ name: 'answers', alarm: 0.02, target: 0.03 });"
            " return [ratio(1), ratio(1.5), ratio(1 / 1.5), ratio(0), part(0), part(0.03)] })"
        )
        assert at[3] is None  # JSON has no infinity
        assert [*at[:3], *at[4:]] == pytest.approx([0.5, 0.75, 0.25, 0, 0.5])


def test_only_an_admin_has_buttons(page):
    with staged(1) as stage:
        stage.keys = {"looker": "infer", "sesame": "admin"}
        page.before("sessionStorage.setItem('penstock-key', 'looker')")
        tab = opened(page, stage)
        assert tab.run(BUTTONS) == []
        click(tab, "Enter an admin key to steer them")
        tab.until("document.querySelector('#keys').open")
        tab.type("sesame")
        tab.key("Enter")
        tab.until(f"({BUTTONS}).join() === 'Pause,Promote,Roll back'")
        assert tab.run("document.querySelector('#rollouts header .quiet').hidden")


def test_orders_are_asked_for_with_a_reason_and_carry_the_key(page):
    with staged(1) as stage:
        stage.keys = {"sesame": "admin"}
        stage.every = 0.05
        phase = ["running"]
        page.before("sessionStorage.setItem('penstock-key', 'sesame')")
        tab = opened(page, stage, lambda now: [rollouts.canary(now, phase=phase[0], model="a/b")])
        click(tab, "Roll back")
        tab.until("document.activeElement.id === 'confirm-why'")
        tab.key("Escape")
        tab.until("!document.querySelector('#confirm').open")
        assert stage.orders == []
        tab.run(f"{CARD}.querySelector('.acts button').focus()")
        tab.key("Enter")
        tab.until("document.activeElement.id === 'confirm-why'")
        tab.type(" lunch ")
        tab.key("Enter")
        tab.until(told("a/b: the rollout is paused"))
        assert tab.run("document.activeElement.innerText") == "Pause"
        phase[0] = "paused"
        tab.until(f"({BUTTONS})[0] === 'Resume'")
        assert tab.run("document.activeElement.innerText") == "Resume"  # the one that was pressed has gone
        for words, done in (
            ("Resume", "goes on"),
            ("Promote", "2 is promoted"),
            ("Roll back", "1 answers again"),
        ):
            click(tab, words)
            assert ("Not passed: p95, p99, cost, answers" in text(tab, "#confirm")) == (words == "Promote")
            answer(tab, words)
            tab.until(told(done))
        verbs = ["pause", "resume", "promote", "rollback"]
        assert stage.orders == [(f"/penstock/rollouts/a/b/{verb}", "sesame") for verb in verbs]
        assert stage.bodies == [{"why": "lunch"}, {"why": ""}, {"why": ""}, {"why": ""}]


def test_a_refused_order_is_told(page):
    with staged(1) as stage:
        tab = opened(page, stage)
        stage.refusal = (409, {"error": "no rollout of resnet50 runs"})
        click(tab, "Pause")
        answer(tab, "Pause")
        tab.until(told("failed: no rollout of resnet50 runs"))


def test_an_end_is_told_and_keeps_its_evidence(page):
    with staged(1) as stage:
        stage.every = 0.05
        shown = [rollouts.canary(time.time(), id="r", model="minilm-embed")]
        tab = opened(page, stage, lambda now: shown)
        shown[0] = rollouts.taken_back(time.time(), id="r")
        tab.until(told("version 2 is taken back, 1 answers again"))
        assert tab.run(BUTTONS) == []
        assert "taken back after" in text(tab, ".track [data-is=bad]")
        failed = text(tab, ".guard[data-verdict=fail]")
        assert [words for words in ("p99", "×2.31", "173 of the slowest") if words not in failed] == []
        assert "more, about" not in text(tab, ".rollout")


def test_a_guard_without_figures_says_why_alone(page):
    crash = {"name": "crash", "verdict": "fail", "why": "its process ended twice, by signal 11", "seen": 40}
    with staged(1) as stage:
        tab = opened(page, stage, lambda now: [rollouts.taken_back(now, guards=[crash])])
        row = text(tab, ".guard")
        assert [words for words in ("crash", "fail", "signal 11") if words not in row] == []
        drawn = "[...document.querySelectorAll('.guard :is(svg.interval, .alarm, .pass)')]"
        assert tab.run(f"{drawn}.some((one) => one.checkVisibility({{ visibilityProperty: true }}))") is False


def test_nothing_escapes_from_names_and_sentences(page):
    def shown(now):
        made = rollouts.canary(
            now, model=NASTY, stable=NASTY, candidate=NASTY, says=NASTY, by=NASTY, id=NASTY
        )
        made["guards"] = [
            rollouts.guard(NASTY, "not yet", 1.1, why=NASTY),
            {"name": NASTY, "verdict": "off", "why": NASTY},
        ]
        return [made | {"sticky": NASTY, "kind": NASTY, "phase": NASTY}]

    with staged(1) as stage:
        stage.names[0] = NASTY
        tab = opened(page, stage, shown)
        assert NASTY in text(tab, ".rollout h3")
        assert NASTY in text(tab, ".says")
        click(tab, "Promote")
        answer(tab, "Promote")
        tab.until(told("is promoted"))
        assert stage.orders == [(f"/penstock/rollouts/{NASTY}/promote", "")]
        assert tab.run("window.hurt === undefined && !document.querySelector('main img, main script')")
        assert tab.run(SIDEWAYS) == []


def test_the_candidate_is_marked_where_models_are(page):
    with staged(3) as stage:
        at = {"model": "resnet50", "stable": "9", "candidate": "1"}  # the stage has version 1
        tab = opened(page, stage, lambda now: [rollouts.canary(now, **at)], "#/resnet50/1")
        assert text(tab, "tr.model .candidate:not([hidden])") == "canary 5 %"
        assert text(tab, "#detail h2 .candidate") == "canary 5 %"
        assert tab.run("document.querySelectorAll('.candidate:not([hidden])').length") == 2
        assert tab.run("document.querySelector('.arms a').hash") == "#/resnet50/1"


def test_of_many_one_is_unfolded_and_the_others_on_demand(page):
    with staged(3) as stage:
        tab = opened(page, stage, lambda now: rollouts.several(now, 20))
        folds = "[...document.querySelectorAll('.rollout h3 button')].map((b) => b.ariaExpanded)"
        assert tab.run(folds) == ["true"] + ["false"] * 19
        second = "document.querySelectorAll('.rollout h3 button')[1]"
        tab.run(f"{second}.focus()")
        tab.key("Enter")
        tab.until(f"{second}.ariaExpanded === 'true' && {GUARDS}.length === 14")
        body = f"document.getElementById({second}.getAttribute('aria-controls'))"
        assert tab.run(f"{body}.checkVisibility()")


def test_an_update_of_twenty_is_quick(page):
    with staged(20) as stage:
        stage.every = 0.1
        page.before(WATCH)
        tab = opened(page, stage, lambda now: rollouts.several(now, 20))
        tab.run(
            "document.querySelectorAll('.rollout h3 button[aria-expanded=false]').forEach((b) => b.click())"
        )
        tab.run("window.drawn.length = 0")
        before = tab.metrics()
        tab.until("window.drawn.length >= 12")
        after, drawn = tab.metrics(), tab.run("window.drawn")
        whole = 1000 * sum(after[name] - before[name] for name in WORK) / len(drawn)
        print(f"20 unfolded rollouts: {median(drawn):.1f} ms of script, {whole:.1f} ms in all")
        assert median(drawn) < 50
        assert whole < 100


def test_it_can_be_read_in_both_themes_and_has_names(page):
    with staged(2) as stage:
        tab = opened(page, stage, lambda now: [rollouts.canary(now), rollouts.taken_back(now)])
        tab.run("document.querySelector('.off summary').click()")
        for scheme in ("light", "dark"):
            tab.prefer(color_scheme=scheme)
            texts = tab.run(CONTRAST)
            assert [one for one in texts if one["ratio"] < 4.5] == []
        tab.send("Accessibility.enable")
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        found = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
        named = {"button", "link", "image", "meter", "table", "region"}
        assert [one for one in found if one[0] in named and not one[1].strip()] == []
        assert ("button", "Roll back resnet50") in found
        assert any(role == "meter" and name.startswith("Evidence for a pass") for role, name in found)


def test_it_fits_phones_tablets_and_desks(page):
    with staged(3) as stage:
        page.size(390, 844, phone=True)
        tab = opened(page, stage, lambda now: rollouts.several(now, 8))
        tab.run(UNFOLD)
        for size in ((390, 844), (820, 1100), (1440, 900)):
            tab.size(*size, phone=size[0] < 500)
            assert tab.run(SIDEWAYS) == []
