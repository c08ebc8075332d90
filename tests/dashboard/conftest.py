"""A browser for all tests of the page, and a page that must end without a fault."""

import pytest

from tests.dashboard import chromium


@pytest.fixture(scope="session")
def browser():
    """One Chromium; a test without one is skipped."""
    if chromium.PROGRAM is None:
        pytest.skip("no Chromium is installed")
    with chromium.chromium() as running:
        yield running


@pytest.fixture
def page(browser):
    """``page.opened(url, ready)`` shows it; afterwards nothing may be wrong in it or come from elsewhere."""
    with browser.tab() as tab:

        def opened(url, ready):
            tab.origin = url.split("#")[0]
            tab.open(url)
            tab.until(ready)
            return tab

        tab.opened = opened
        yield tab
        tab.run("1")  # brings the events that are on their way
        assert wrong(tab) == []


def wrong(tab):
    """Errors told in the console, and requests to another origin; a lost connection is told elsewhere."""
    told = [e["entry"]["text"] for e in tab.named("Log.entryAdded") if e["entry"]["source"] != "network"]
    thrown = [e["exceptionDetails"]["text"] for e in tab.named("Runtime.exceptionThrown")]
    said = [str(e["args"]) for e in tab.named("Runtime.consoleAPICalled")]
    asked = [e["request"]["url"] for e in tab.named("Network.requestWillBeSent")]
    return told + thrown + said + [url for url in asked if not url.startswith(tab.origin)]
