"""A printed key is let in by the line printed with it, and only in its role."""

import re
import shlex
import tomllib

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.key import command, key
from penstock.core.errors import BadSetting, Forbidden
from penstock.core.terms import KeyTerms
from penstock.doors.auth import Keys
from penstock.settings import load


def printed(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0
    return result.output


def test_the_line_lets_the_key_in() -> None:
    fresh, line = key("infer")
    keys = Keys(tomllib.loads(line))
    keys.require(fresh, "infer")
    with pytest.raises(Forbidden):
        keys.require(fresh, "admin")


def test_every_key_is_new() -> None:
    assert key("infer") != key("infer")


@pytest.mark.parametrize(("arguments", "role"), [((), "infer"), (("--admin",), "admin")])
def test_both_printed_forms_are_settings(arguments: tuple[str, ...], role: str) -> None:
    output = printed(*arguments)
    fresh = output.splitlines()[1].strip()
    toml = re.search(r"\[keys\]\n.*\n", output)
    variable = re.search(r"PENSTOCK_KEYS='(.*)'", output)
    assert toml
    assert variable
    keys = load(None, {"PENSTOCK_KEYS": variable[1]}, {}).keys
    assert tomllib.loads(toml[0])["keys"] == keys
    assert list(keys.values()) == [role]
    Keys(keys).require(fresh, "infer")


@pytest.mark.parametrize("tenant", ["team-a", 'it\'s "theirs" \\ $HOME', "Käse"])
def test_a_key_can_be_a_tenants(tenant: str) -> None:
    output = printed("--tenant", tenant)
    fresh = output.splitlines()[1].strip()
    toml = re.search(r"\[keys\]\n.*\n", output)
    variable = re.search(r"PENSTOCK_KEYS=.*", output)
    assert toml
    assert variable
    [(name, value)] = [shlex.split(variable[0])[0].split("=", 1)]
    keys = load(None, {name: value}, {}).keys
    assert tomllib.loads(toml[0])["keys"] == {hash_: {"role": "infer", "tenant": tenant} for hash_ in keys}
    assert list(keys.values()) == [KeyTerms(role="infer", tenant=tenant)]
    assert Keys(keys).require(fresh, "infer") == tenant


def test_a_tenant_has_a_name() -> None:
    with pytest.raises(BadSetting, match="--tenant: ' a' cannot name a tenant"):
        key("infer", " a")
