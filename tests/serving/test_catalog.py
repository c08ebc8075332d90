"""The table of live versions: found by name and version, swapped whole."""

import pytest

from penstock.core.errors import ModelNotReady, UnknownModel, UnknownVersion
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState
from penstock.serving.catalog import Catalog, Live


def live(model, version):
    state = ModelState(name=model, version=version, state="READY", spec=ModelSpec(name=model))
    return Live(state, None, None, lambda: None)


ORDER = ["1", "2", "10"]


def test_a_request_that_names_no_version_gets_the_newest():
    catalog = Catalog()
    versions = {version: live("m", version) for version in ("10", "1", "2")}
    for one in versions.values():
        catalog.put(one, ORDER)
    assert catalog.find("m") is catalog.default("m") is versions["10"]
    assert catalog.find("m", "2") is versions["2"]
    assert [one.state.version for one in catalog] == ORDER


def test_a_version_that_the_order_does_not_know_is_older_than_all():
    catalog = Catalog()
    catalog.put(live("m", "odd"), [])
    catalog.put(live("m", "1"), ["1"])
    assert catalog.find("m").state.version == "1"


def test_a_peek_finds_the_same_or_nothing():
    catalog = Catalog()
    catalog.put(live("m", "1"), ORDER)
    catalog.put(live("m", "2"), ORDER)
    assert catalog.peek("m") is catalog.find("m")
    assert catalog.peek("m", "1") is catalog.find("m", "1")
    assert (catalog.peek("m", "3"), catalog.peek("n")) == (None, None)


def test_what_is_not_there_is_said_with_what_is():
    catalog = Catalog()
    with pytest.raises(UnknownModel, match="no model 'm'; have none yet"):
        catalog.find("m")
    for model, version in (("b", "1"), ("b", "2"), ("a", "1")):
        catalog.put(live(model, version), ORDER)
    with pytest.raises(UnknownModel, match="no model 'm'; have a, b"):
        catalog.find("m")
    with pytest.raises(UnknownVersion, match="model 'b' has no version '3' serving; have 1, 2"):
        catalog.find("b", "3")
    assert catalog.default("m") is None


def test_a_model_that_is_known_but_does_not_serve_says_why():
    catalog = Catalog()
    catalog.known = {"m": "it is loading"}
    with pytest.raises(ModelNotReady, match="model 'm' is not ready: it is loading"):
        catalog.find("m")


def test_put_returns_what_it_replaces():
    catalog = Catalog()
    first, second = live("m", "1"), live("m", "1")
    assert catalog.put(first, ORDER) is None
    assert catalog.put(second, ORDER) is first
    assert catalog.find("m", "1") is second


def test_taking_the_newest_makes_the_one_before_it_the_newest():
    catalog = Catalog()
    for version in ORDER:
        catalog.put(live("m", version), ORDER)
    assert catalog.take("m", "10").state.version == "10"
    assert catalog.find("m").state.version == "2"
    assert catalog.take("m", "10") is None
    assert catalog.take("other", "1") is None


def test_taking_the_last_version_takes_the_model():
    catalog = Catalog()
    catalog.put(live("m", "1"), ORDER)
    catalog.take("m", "1")
    assert (list(catalog), dict(catalog.table)) == ([], {})


def test_take_if_takes_only_what_is_still_serving():
    catalog = Catalog()
    first, second = live("m", "1"), live("m", "1")
    catalog.put(first, ORDER)
    catalog.put(second, ORDER)
    catalog.take_if(first)
    assert catalog.find("m") is second
    catalog.take_if(second)
    catalog.take_if(second)
    assert list(catalog) == []


def test_a_table_that_somebody_holds_never_changes():
    catalog = Catalog()
    catalog.put(live("m", "1"), ORDER)
    held = catalog.table
    before = {model: dict(shelf.versions) for model, shelf in held.items()}
    catalog.put(live("m", "2"), ORDER)
    catalog.put(live("n", "1"), ORDER)
    catalog.take("m", "1")
    assert {model: dict(shelf.versions) for model, shelf in held.items()} == before
