"""Web pages of other sites, which a browser lets ask, may not change anything."""

import pytest

from penstock.core.errors import Forbidden
from penstock.doors import strangers
from penstock.doors.auth import digest
from tests.doors.house import data, get, house, http, infer

UNLOAD = "/v2/repository/models/echo/unload"
ELSEWHERE = [
    "Sec-Fetch-Site: cross-site\r\n",
    "Sec-Fetch-Site: same-site\r\n",
    "Sec-Fetch-Site: cross-site\r\nOrigin: http://test\r\n",
    "Origin: https://evil.example\r\n",
    "Origin: http://test:1\r\n",
    "Origin: http://test.evil.example\r\n",
    "Origin: null\r\n",
    "Origin: \r\n",
    "Origin: https://evil.example\r\nX-Forwarded-Host: shown.example\r\n",
]
OURS = [
    "",
    "Sec-Fetch-Site: same-origin\r\n",
    "Sec-Fetch-Site: none\r\n",
    "Origin: http://test\r\n",
    "Origin: HTTPS://TEST\r\n",
    "Sec-Fetch-Site: same-origin\r\nOrigin: https://shown.example\r\n",  # a proxy put its own Host
    "Origin: https://shown.example\r\nX-Forwarded-Host: shown.example\r\n",
]


@pytest.fixture(scope="module")
def open_house():
    with house() as found:
        yield found


@pytest.mark.parametrize("lines", ELSEWHERE)
def test_a_page_of_another_site_changes_nothing(open_house, lines):
    for request in (http("POST", UNLOAD, headers=lines), http("POST", UNLOAD, b"{}", lines)):
        with open_house.caller() as caller:
            answer = caller.ask(request)
            assert answer.status == 403
            assert answer.error.startswith("a web page of another site asks for this")
    assert open_house.models.calls == []


@pytest.mark.parametrize("lines", OURS)
def test_our_own_page_and_all_that_is_no_page_may(open_house, lines):
    with open_house.caller() as caller:
        assert caller.ask(http("POST", UNLOAD, headers=lines)).status == 200
    assert open_house.models.calls == [("unload", "echo")]
    open_house.models.calls.clear()


@pytest.mark.parametrize("lines", ELSEWHERE)
def test_inference_and_reading_stay_open_to_other_sites(open_house, lines):
    with open_house.caller() as caller:
        assert data(caller.ask(infer(headers=lines))) == [1.0, 2.0]
        assert caller.ask(get("/v2/models/echo", lines)).status == 200


def test_a_key_does_not_make_another_site_ours():
    with house({digest("boss"): "admin"}) as own, own.caller() as caller:
        lines = "X-API-Key: boss\r\nOrigin: https://evil.example\r\n"
        assert caller.ask(http("POST", UNLOAD, headers=lines)).status == 403


def asked_of(host: str, **more: bytes) -> None:
    headers = {name.replace("_", "-").encode(): value for name, value in more.items()}
    strangers.refuse({b"host": host.encode(), **headers}, alone=True)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "a.localhost:1", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", ""]
)
def test_a_server_of_this_machine_alone_goes_by_its_own_names(host):
    asked_of(host)


@pytest.mark.parametrize("host", ["evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"])
def test_a_name_that_was_led_here_is_nobodys(host):
    with pytest.raises(Forbidden, match=r"localhost or 127\.0\.0\.1"):
        asked_of(host, origin=f"http://{host}".encode())
    strangers.refuse({b"host": host.encode()}, alone=False)
