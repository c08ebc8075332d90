"""The page of a real server, in a real browser."""

import numpy as np

from benchmarks import fixtures

X = {"x": np.zeros([1, 32], "float32")}
FIGURES = "(document.querySelector('.figures')?.innerText ?? '')"


def click(tab, words, within="document.querySelector('.acts')"):
    button = f"[...{within}.querySelectorAll('button')].find((b) => b.innerText === {words!r})"
    tab.until(button)
    tab.run(f"{button}.click()")


def test_a_server_is_seen_and_a_model_unloaded_and_loaded_from_its_page(page, inside, repository, tmp_path):
    settings = {"meter__file": str(tmp_path / "books.db"), "meter__every_s": 0.2, "price__per_hour": 3.6}
    client = inside(repository, **settings)
    tab = page.opened(f"{client.url}/", f"{FIGURES}.includes('Requests')")
    for _ in range(20):
        client.infer("tiny", X)
    tab.until(f"/p99\\s+[\\d.,]+\\s*ms/.test({FIGURES}) && /Cost .1,000\\s+\\$/.test({FIGURES})")
    assert tab.run("document.querySelector('#detail h2').innerText").startswith("tiny")
    click(tab, "Unload")
    click(tab, "Unload", "document.querySelector('#confirm')")
    tab.until("document.querySelector('#detail .sign').innerText === 'unavailable'")
    click(tab, "Load")
    click(tab, "Load", "document.querySelector('#confirm')")
    tab.until("document.querySelector('#detail .sign').innerText === 'ready'")
    tab.until("document.querySelectorAll('.events time').length >= 4")


CARD = "document.querySelector('.rollout')"


def test_a_rollout_is_seen_and_taken_back_from_the_page(page, inside, repository, tmp_path):
    fixtures.write(repository, "tiny", "2", fixtures.tiny())
    (repository / "tiny" / "model.toml").write_text('versions = ["1"]\n')
    settings = {"meter__file": str(tmp_path / "books.db"), "watch__settle_s": 0.1, "watch__poll_s": 0.1}
    client = inside(repository, **settings)
    tab = page.opened(f"{client.url}/", "document.querySelector('tr.model')")
    client.start_rollout("tiny", "2", plan="ab", why="to be looked at")
    tab.until(f"{CARD}?.innerText.includes('version 1 → 2') && {CARD}.innerText.includes('running')")
    for _ in range(40):
        client.infer("tiny", X)
    tab.until(f"/new, [1-9]\\d* answered/.test({CARD}.innerText)")
    click(tab, "Roll back", f"{CARD}.querySelector('.acts')")
    click(tab, "Roll back", "document.querySelector('#confirm')")
    tab.until(f"{CARD}.innerText.includes('rolled back')")
    assert client.rollout("tiny")["phase"] == "rolled-back"
    assert [each["what"] for each in client.rollout_history("tiny")] == ["rollback", "stage", "start"]
    assert client.bad_versions()[0]["version"] == "2"


SECTION = "document.querySelector('.scaling')"


def test_decisions_of_a_real_server_are_seen_on_its_page(page, inside, repository, tmp_path):
    (repository / "tiny" / "model.toml").write_text('isolation = "thread"\n[instances]\nmin = 1\nmax = 2\n')
    settings = {"meter__file": str(tmp_path / "books.db"), "scaling__every_s": 1.0}
    client = inside(repository, **settings)
    for _ in range(20):
        client.infer("tiny", X)
    tab = page.opened(f"{client.url}/", f"{SECTION}?.innerText.includes('1 to 2 allowed')")
    tab.until("document.querySelector('.decided').innerText.includes('expected')")
    tab.until("document.querySelectorAll('.decisions time').length")
    tab.until("document.querySelector('.course .line.capacity').getAttribute('d').includes('H')")
    assert tab.run(f"/One carries\\s+[\\d,.]+ rows.s/.test({SECTION}.innerText)")
