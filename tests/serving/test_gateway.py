"""The first handler: the right version gets the request; what none may have is counted, by known names."""

import numpy as np
import pytest

from penstock.core.errors import InvalidRequest, ModelNotReady, UnknownModel, UnknownVersion
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState, Request
from penstock.engines.echo import SIGNATURE
from penstock.serving.catalog import Catalog, Live
from penstock.serving.check import Check
from penstock.serving.gateway import Gateway


@pytest.fixture
def refused():
    return []


@pytest.fixture
def gateway(refused):
    catalog = Catalog()
    for version in ("1", "2"):
        state = ModelState(name="echo", version=version, state="READY", spec=ModelSpec(name="echo"))
        check = Check("echo", SIGNATURE, batched=True)
        catalog.put(Live(state, lambda request, v=version: (v, request), check, lambda: None), ["1", "2"])
    catalog.known = {"asleep": "it is loading"}
    return Gateway(catalog, lambda *what: refused.append(what))


def ask(model="echo", version="", x=((1.0,),)):
    return Request(model=model, version=version, inputs={"x": np.array(x, np.float32)})


@pytest.mark.parametrize(("asked", "got"), [("", "2"), ("2", "2"), ("1", "1")])
def test_the_right_version_gets_the_request_itself(gateway, refused, asked, got):
    request = ask(version=asked)
    version, handed = gateway(request)
    assert (version, refused) == (got, [])
    assert handed is request


@pytest.mark.parametrize(
    ("request_", "error", "counted"),
    [
        (ask("nobody"), UnknownModel, ("", "", "not_found")),
        (ask("nobody", "7"), UnknownModel, ("", "", "not_found")),
        (ask("echo", "7"), UnknownVersion, ("", "", "not_found")),
        (ask("asleep"), ModelNotReady, ("asleep", "", "unavailable")),
        (ask(x=(1.0,)), InvalidRequest, ("echo", "", "invalid")),
        (ask(version="1", x=(1.0,)), InvalidRequest, ("echo", "1", "invalid")),
    ],
)
def test_what_no_version_may_have_is_refused_and_counted(gateway, refused, request_, error, counted):
    """Unknown names stay out: everybody can make up new ones, and each would be a time series."""
    with pytest.raises(error):
        gateway(request_)
    assert refused == [counted]


def test_a_known_but_sleeping_model_with_a_made_up_version_is_no_new_label(gateway, refused):
    with pytest.raises(ModelNotReady):
        gateway(ask("asleep", "made up"))
    assert refused == [("asleep", "", "unavailable")]
