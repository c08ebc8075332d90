"""The page in a real Chromium, shown made-up figures."""

import time
from statistics import median

from tests.dashboard.checks import SIDEWAYS, WATCH, WORK
from tests.dashboard.stage import staged

NASTY = "<script>window.hurt=1</script><img src=x onerror=window.hurt=2>&amp;'\"/../%41"
ROWS = "document.querySelectorAll('tr.model').length"
SHOWN = "document.querySelector('.figure .big b')?.textContent"
FIRST = "document.querySelector('tr.model a').textContent"
HEADING = "document.querySelector('#detail h2').innerText"


def opened(page, stage, where="", ready=SHOWN):
    return page.opened(stage.url + where, ready)


def wait_for(told, seconds=20):
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end
        time.sleep(0.05)


def press(tab, *keys):
    for key in keys:
        tab.key(key)


def click(tab, words, within="document"):
    tab.run(f"[...{within}.querySelectorAll('button')].find((b) => b.innerText.trim() === {words!r}).click()")


def answer(tab, words):
    """Presses a button of the question that is asked."""
    tab.until("document.querySelector('#confirm').open")
    click(tab, words, "document.querySelector('#confirm')")


def test_one_model_is_shown_at_length(page):
    with staged(1) as stage:
        stage.warm = 100
        tab = opened(page, stage)
        assert tab.run(HEADING).startswith("resnet50")
        assert tab.run("document.querySelector('#models').hidden")
        lines = tab.run(
            "[...document.querySelectorAll('.chart .line')].map((p) => (p.getAttribute('d') ?? '').length)"
        )
        assert max(lines) > 500
        tab.until("document.querySelectorAll('.events time').length === 3")


def test_a_hundred_models_are_a_hundred_rows(page):
    with staged(100) as stage:
        tab = opened(page, stage)
        assert tab.run(ROWS) == 100
        names = tab.run("[...document.querySelectorAll('tr.model a')].map((a) => a.textContent)")
        assert names == sorted(names)
        assert tab.run(SIDEWAYS) == []


def test_rows_are_sorted_by_any_column(page):
    with staged(30) as stage:
        tab = opened(page, stage)
        for words, column in (("p99 ms", "p99"), ("Queue", "queue"), ("Rate /s", "rate")):
            click(tab, words)
            head = f"document.querySelector('th.c-{column}')"
            assert tab.run(f"{head}.ariaSort ?? {head}.getAttribute('aria-sort')") == "descending"
            cells = f"[...document.querySelectorAll('td.c-{column}')].map((c) => c.textContent)"
            words = [cell.replace("▲", "").replace(",", "").strip() for cell in tab.run(cells)]
            figures = [float(word) for word in words if word != "–"]
            assert figures == sorted(figures, reverse=True)


def test_typing_filters_and_chips_choose(page):
    with staged(60) as stage:
        tab = opened(page, stage)
        press(tab, "/")
        tab.type("bert openvino")
        tab.until(f"{ROWS} < 60")
        assert tab.run(FIRST).startswith("bert-ner")
        press(tab, "Escape")
        tab.until(f"{ROWS} === 60")
        tab.run("document.querySelectorAll('.chip')[4].click()")
        tab.until(f"{ROWS} === 2")
        assert tab.run("document.querySelectorAll('.chip')[4].textContent") == "Not ready2"


def test_an_update_of_a_hundred_models_is_quick(page):
    with staged(100) as stage:
        stage.every = 0.2
        stage.warm = 60
        page.before(WATCH)
        tab = opened(page, stage, ready=f"{ROWS} === 100")
        wait_for(lambda: stage.told > 2)
        tab.run("window.drawn.length = window.long.length = 0")
        before = tab.metrics()
        tab.until("window.drawn.length >= 15", 30)
        after, drawn, long = tab.metrics(), tab.run("window.drawn"), tab.run("window.long")
        whole = 1000 * sum(after[name] - before[name] for name in WORK) / len(drawn)
        assert median(drawn) < 50
        assert max([*drawn, *long]) < 400
        assert whole < 100


def test_what_is_not_seen_is_not_drawn(page):
    with staged(3) as stage:
        stage.every = 0.05
        page.before(WATCH)
        tab = opened(page, stage)
        hide = "Object.defineProperty(document, 'hidden', { get: () => %s, configurable: true })"
        tab.run(hide % "true")
        seen = tab.run("new Promise((done) => setTimeout(() => done(window.drawn.length), 100))")
        assert tab.run("new Promise((done) => setTimeout(() => done(window.drawn.length), 400))") == seen
        tab.run(hide % "false")
        tab.run("document.dispatchEvent(new Event('visibilitychange'))")
        tab.until(f"window.drawn.length > {seen}")


def test_a_nasty_name_stays_text(page):
    with staged(3) as stage:
        stage.names[1] = NASTY
        tab = opened(page, stage)
        link = f"[...document.querySelectorAll('tr.model a')].find((a) => a.textContent === {NASTY!r})"
        assert tab.run(f"Boolean({link})")
        tab.run(f"{link}.click()")
        tab.until(f"{HEADING}.startsWith('<script>')")
        click(tab, "Unload")
        answer(tab, "Unload")
        tab.until("document.querySelector('#say').innerText.includes('is unloaded')")
        assert stage.orders == [(f"/v2/repository/models/{NASTY}/unload", "")]
        assert tab.run("window.hurt === undefined && !document.querySelector('main img, main script')")


def test_unload_is_asked_for_and_carries_the_key(page):
    with staged(4) as stage:
        stage.keys = {"looker": "infer", "sesame": "admin"}
        tab = opened(page, stage, "#/resnet50/1", ready="document.querySelector('#keys')?.open")
        tab.type("looker")
        press(tab, "Enter")
        tab.until(SHOWN)
        assert tab.run("[...document.querySelectorAll('.acts button')].filter((b) => !b.hidden).length") == 2
        click(tab, "Enter an admin key to load or unload")
        tab.until("document.querySelector('#keys').open")
        tab.type("sesame")
        press(tab, "Enter")
        tab.until("[...document.querySelectorAll('.acts button')].some((b) => b.innerText === 'Unload')")
        click(tab, "Unload")
        tab.until("document.querySelector('#confirm').open")
        assert "Unload resnet50?" in tab.run("document.querySelector('#confirm').innerText")
        press(tab, "Enter")  # the focus is on Cancel
        tab.until("!document.querySelector('#confirm').open")
        assert stage.orders == []
        click(tab, "Unload")
        answer(tab, "Unload")
        tab.until("document.querySelector('#say').innerText.includes('resnet50 is unloaded')")
        assert stage.orders == [("/v2/repository/models/resnet50/unload", "sesame")]
        assert "sesame" not in tab.run("JSON.stringify(localStorage) + document.cookie + location.href")


def test_a_refusal_is_told_and_a_wrong_key_asked_for_again(page):
    with staged(2) as stage:
        tab = opened(page, stage, "#/resnet50/1")
        stage.refusal = (507, {"error": "no memory for resnet50"})
        click(tab, "Load anew")
        answer(tab, "Load")
        tab.until("document.querySelector('#say').innerText.includes('no memory for resnet50')")
        stage.refusal, stage.keys = None, {"sesame": "admin"}
        click(tab, "Load anew")
        answer(tab, "Load")
        tab.until("document.querySelector('#keys').open")
        tab.type("sesame")
        press(tab, "Enter")
        tab.until("document.querySelector('#say').innerText.includes('resnet50 is loaded')")
        assert [key for _, key in stage.orders] == ["", "", "sesame"]


def test_keys_alone_are_enough(page):
    with staged(20) as stage:
        tab = opened(page, stage)
        press(tab, "j")
        assert tab.run("document.activeElement.textContent") == tab.run(FIRST)
        press(tab, "ArrowDown", "ArrowDown", "ArrowUp", "End")
        last = tab.run("[...document.querySelectorAll('tr.model a')].at(-1).textContent")
        assert tab.run("document.activeElement.textContent") == last
        press(tab, "Home", "ArrowDown", "Enter")
        tab.until("document.activeElement.matches('#detail h2')")
        second = tab.run("document.querySelectorAll('tr.model a')[1].textContent")
        assert tab.run(HEADING).startswith(second)
        length = tab.run("history.length")
        press(tab, "j")
        tab.until(f"!{HEADING}.startsWith({second + ' '!r})")
        assert tab.run("history.length") == length
        press(tab, "Escape")
        tab.until("document.querySelector('#detail').hidden && document.activeElement.closest('tr.model')")
        press(tab, "?")
        assert tab.run("document.querySelector('#shortcuts').open")
        press(tab, "Escape")
        assert not tab.run("document.querySelector('#shortcuts').open")


def test_the_address_opens_a_model_and_back_leaves_it(page):
    with staged(5) as stage:
        tab = opened(page, stage)
        tab.run("document.querySelector('tr.model td.c-rate').click()")
        tab.until("!document.querySelector('#detail').hidden")
        assert tab.run("location.hash") == tab.run("document.querySelector('tr.model a').hash")
        tab.run("history.back()")
        tab.until("document.querySelector('#detail').hidden")
        tab.run("location.hash = '#/nothing/1'")
        tab.until("document.querySelector('#detail').innerText.includes('There is no such model here')")


def test_a_page_just_opened_begins_with_the_servers_past(page):
    now = time.time()
    at = [now - 300 + 5 * k for k in range(60)]
    rates = {"rate": [10.0 + k % 3 for k in range(60)], "p99": [None, *[5.0] * 59], "errors": [0.0] * 60}
    with staged(2) as stage:
        rest = {key: [1.0] * 60 for key in ("busy", "cost", "watts", "grams")}
        stage.past = {"at": at, "whole": rates | rest, "models": {"resnet50/1": rates}}
        tab = opened(page, stage)
        drawn = "(root) => root.querySelector('.spark .line').getAttribute('d').split(/[ML]/).length - 1"
        assert tab.run(f"({drawn})(document.querySelector('.figure'))") >= 59
        assert tab.run(f"({drawn})(document.querySelector('tr.model:has(a[href=\"#/resnet50/1\"])'))") >= 59
        assert (
            tab.run(f"({drawn})(document.querySelector('tr.model:not(:has(a[href=\"#/resnet50/1\"]))'))") < 5
        )


def test_what_the_server_says_instead_of_figures_is_told(page):
    said = "The server said: stopping"
    with staged(2) as stage:
        tab = opened(page, stage)
        stage.running = False
        tab.until(f"document.querySelector('#say').innerText.includes({said!r})")
        tab = page.opened(stage.url, f"document.querySelector('#wait')?.textContent === {said!r}")
        stage.running = True
        tab.until(SHOWN)


def test_a_budget_warns_at_its_own_part(page):
    with staged(2) as stage:
        tab = opened(page, stage, ready="document.querySelectorAll('.budget').length === 4")
        told = tab.run(
            "[...document.querySelectorAll('.budget')].map((b) => [b.dataset.is ?? '', b.innerText])"
        )
        assert [is_ for is_, _ in told] == ["", "warn", "warn", "bad"]
        assert [words[0] for _, words in told] == ["4", "!", "!", "▲"]
        highs = tab.run("[...document.querySelectorAll('.budget meter')].map((m) => m.high)")
        assert highs == [0.8, 0.8, 0.3, 0.8]


def test_a_lost_connection_is_told_and_opened_again(page):
    with staged(2) as stage:
        tab = opened(page, stage)
        stage.running = False
        tab.until("document.querySelector('#link').innerText.includes('lost')")
        assert tab.run("document.querySelector('#page').hasAttribute('data-stale')")
        assert "lost" in tab.run("document.querySelector('#say').innerText")
        stage.running = True
        tab.until("document.querySelector('#link').innerText === 'live'")
        tab.until("!document.querySelector('#page').hasAttribute('data-stale')")
