"""docs/protocols.md says of the doors what the code does."""

import re
from pathlib import Path

from penstock.core import errors
from penstock.doors.admin import make_app
from penstock.doors.errors import grpc_code, http_status
from penstock.doors.extensions import EXTENSIONS
from penstock.doors.grpc_rpcs import RPCS
from penstock.doors.targets import role_of
from penstock.settings import Limits
from tests.doors.house import TwoModels

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the table whose first column is ``header``, without backticks."""
    table = PAGE.split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in table]


def leaves(kind=errors.PenstockError):
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return [kind] if not below else [leaf for each in below for leaf in leaves(each)]


def test_the_codes_of_every_error():
    written = {name: (int(http), grpc) for name, http, grpc, _ in rows("error")}
    kinds = {*leaves(), errors.InvalidRequest}
    assert written == {kind.__name__: (http_status(kind("x")), grpc_code(kind("x"))) for kind in kinds}


def test_the_limits_and_their_defaults():
    assert {name: float(default) for name, default, _ in rows("setting in `[server]`")} == {
        name: float(getattr(Limits(), name)) for name in Limits.__struct_fields__
    }


def test_the_extensions():
    assert {name for name, offered, _ in rows("extension") if offered == "yes"} == set(EXTENSIONS)


def test_the_rpcs_and_their_roles():
    written = {name: role for names, role in rows("RPC")[:-1] for name in names.split(", ")}
    assert written == {name: role or "open" for name, (role, _) in RPCS.items()}


def expanded(path: str) -> list[str]:
    """The routes that a path of the table stands for."""
    route = path.replace("/M", "/{model}").replace("/V]", "/{version}]")
    return [re.sub(r"\[.*\]", "", route), re.sub(r"[\[\]]", "", route)] if "[" in route else [route]


def test_the_paths_and_their_roles():
    written = {
        (method, path): role
        for cell, _, role in rows("method and path")
        for method, url in re.findall(r"(GET|POST) (\S+?)(?:,|$)", cell)
        for path in expanded(url)
    }
    routes = make_app(TwoModels(), lambda accept: (b"", "")).routes
    methods = {("POST" if "POST" in route.methods else "GET", route.path) for route in routes}
    assert set(written) == methods
    for (method, path), role in written.items():
        assert role == (role_of(method.encode(), path.encode()) or "open"), path
