"""What URLs mean: inference of a model, a path, a role."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import InvalidRequest
from penstock.doors.targets import Target, parse, path_of, role_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
quick = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def quoted(name):
    return "".join(f"%{byte:02x}" for byte in name.encode())


@quick
@given(NAMES, NAMES)
def test_any_name_goes_round_when_it_is_quoted(model, version):
    url = f"/v2/models/{quoted(model)}/infer".encode()
    assert parse(url) == Target(model, "")
    url = f"/v2/models/{quoted(model)}/versions/{quoted(version)}/infer?query".encode()
    assert parse(url) == Target(model, version)


@quick
@given(st.binary(max_size=40))
def test_any_url_means_something_or_nothing(url):
    target = parse(url)
    assert target is None or target.model
    assert isinstance(path_of(url), str)
    try:
        assert role_of(b"POST", url) in (None, "infer", "admin")
    except InvalidRequest:
        assert any(ord(each) < 32 or ord(each) == 127 for each in path_of(url))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (b"/v2", "/v2"),
        (b"/v2?a=/b", "/v2"),
        (b"/%76%32", "/v2"),
        (b"http://host/v2?a", "/v2"),
        (b"HTTPS://user@host:1/v2", "/v2"),
        (b"http://host", "/"),
        (b"/a://b", "/a://b"),
        (b"*", "*"),
        (b"", ""),
    ],
)
def test_the_path_of_a_url(url, path):
    assert path_of(url) == path


@pytest.mark.parametrize(
    ("method", "url", "role"),
    [
        (b"GET", b"/v2/health/live", None),
        (b"GET", b"http://host/v2/health/ready", None),
        (b"GET", b"/v2/%68ealth/ready", None),
        (b"GET", b"/v2/health", "infer"),
        (b"GET", b"/", None),
        (b"GET", b"/?a", None),
        (b"GET", b"//", "infer"),
        (b"GET", b"/penstock/page/page.js", None),
        (b"GET", b"/penstock/page", "infer"),
        (b"GET", b"/penstock/live", "infer"),
        (b"GET", b"/penstock/history/m?since=1h", "infer"),
        (b"GET", b"/penstock/bill/", "admin"),
        (b"GET", b"/penstock/bill%20", "admin"),
        (b"POST", b"/v2/models/m/infer", "infer"),
        (b"POST", b"/v2/repository/index", "admin"),
        (b"HEAD", b"/v2/repository/index", "admin"),
        (b"POST", b"/v2/%72%65pository/models/m/load", "admin"),
        (b"POST", b"http://host/v2/repository/models/m/load", "admin"),
        (b"POST", b"/v2/repository%2Fmodels%2Fm%2Fload", "admin"),
        (b"POST", b"/v2/models/repository/infer", "infer"),
        (b"GET", b"/penstock/models", "infer"),
        (b"GET", b"/penstock/models/m/samples?version=1", "admin"),
        (b"GET", b"/penstock/%6dodels%2Fm/samples", "admin"),
        (b"GET", b"/penstock/bill?by=tenant", "admin"),
        (b"GET", b"/penstock/%62ill", "admin"),
        (b"GET", b"/penstock/rollouts", "infer"),
        (b"GET", b"/penstock/rollouts/m", "infer"),
        (b"HEAD", b"/penstock/rollouts/m", "infer"),
        (b"GET", b"/penstock/rollouts/m/history?limit=3", "infer"),
        (b"GET", b"/penstock/audit", "infer"),
        (b"GET", b"/penstock/rollouts/m/verdict", "infer"),
        (b"POST", b"/penstock/rollouts/m/verdict?go=fail", "infer"),
        (b"POST", b"http://host/penstock/rollouts/m%2Fverdict", "infer"),  # the same path
        (b"POST", b"/penstock/rollouts/verdict", "admin"),  # begins one of a model of this name
        (b"POST", b"/penstock/rollouts//verdict", "admin"),
        (b"POST", b"/penstock/rollouts/verdict/promote", "admin"),
        (b"POST", b"/penstock/rollouts/m/verdict/", "admin"),
        (b"POST", b"/penstock/rollouts/a/b/verdict", "admin"),
        (b"POST", b"/penstock/rollouts/m", "admin"),
        (b"PUT", b"/penstock/rollouts/m", "admin"),
        (b"POST", b"/penstock/rollouts/m/rollback", "admin"),
        (b"POST", b"/penstock/%72ollouts/m/pause", "admin"),
        (b"POST", b"http://host/penstock/rollouts%2Fm/pause", "admin"),
        (b"POST", b"/v1/feedback", "infer"),
    ],
)
def test_the_role_that_a_request_needs(method, url, role):
    assert role_of(method, url) == role


@pytest.mark.parametrize("url", [b"/penstock/bill%0A", b"/%0d", b"/v2/models/m%00/infer", b"/%7F", b"/%1f?a"])
def test_no_path_has_control_characters(url):
    with pytest.raises(InvalidRequest, match="control characters"):
        role_of(b"GET", url)


def test_what_is_asked_may_have_them():
    assert role_of(b"GET", b"/penstock/history/m?since=%0A") == "infer"
