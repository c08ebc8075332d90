"""The page's files and what goes with them: who gets which, what they may load, and when again."""

import re

import pytest

from penstock.dashboard.routes import SAFE, STATIC, files
from penstock.doors.auth import digest
from tests.dashboard.looking import looking

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def page():
    with looking({digest("user"): "infer"}) as found:
        yield found


def test_browsers_get_the_page_and_others_what_they_got_before(page):
    answer = page.get("/", accept=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text == (STATIC / "index.html").read_text()
    assert answer.headers["vary"] == "accept"
    for accept in ("*/*", "application/json"):
        answer = page.get("/", accept=accept)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["see"] == ["/v2", "/penstock/models", "/metrics"]


def test_every_file_is_there_without_a_key_and_loads_nothing_from_elsewhere(page):
    assert {"index.html", "main.js", "page.css"} <= set(files())
    for name in files():
        answer = page.get(f"/penstock/page/{name}")
        assert answer.status_code == 200
        assert answer.content == (STATIC / name).read_bytes()
        assert {key: answer.headers[key] for key in SAFE} == SAFE
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text), name
    policy = SAFE["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_what_has_not_changed_is_not_sent_again(page):
    answer = page.get("/penstock/page/main.js")
    tag = answer.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = page.get("/penstock/page/main.js", **{"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert page.get("/penstock/page/main.js", **{"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "..%2froutes.py", "..%2f..%2f__init__.py", "main.js%2f"])
def test_there_are_no_other_files(page, name):
    answer = page.get(f"/penstock/page/{name}")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_history_and_events_need_a_key(page):
    for path in ("/penstock/history/echo", "/penstock/live"):
        assert page.get(path).status_code == 401
    assert page.get("/penstock/history/echo", **{"x-api-key": "user"}).status_code == 200


def test_files_are_only_for_reading(page):
    import httpx

    answer = httpx.post(f"{page.url}/penstock/page/main.js")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
