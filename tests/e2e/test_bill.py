"""The bill of a running server: what was asked is on it, at the price that was set."""

import numpy as np
import pytest

from penstock import Client
from penstock.client import ServerError
from penstock.doors.auth import digest


def test_what_was_asked_is_on_the_bill_at_the_price_that_was_set(repository, inside):
    settings = {
        "meter__file": "none",
        "meter__site": "here",
        "price__per_hour": 3600.0,
        "price__currency": "EUR",
    }
    client = inside(repository, watch__enabled=False, energy__probe="none", **settings)
    shape = client.metadata("tiny")["inputs"][0]["shape"]
    for _ in range(3):
        client.infer("tiny", np.zeros([1, *shape[1:]], np.float32))
    bill = client.bill(["model", "site"], since="1h")
    line = bill["lines"][0]
    assert [(line["model"], line["site"], line["queries"], line["rows"])] == [("tiny", "here", 3, 3)]
    assert (bill["currency"], bill["until"] - bill["since"]) == ("EUR", 3600.0)
    assert line["cost"] == pytest.approx(bill["machine"]["cost"])
    assert 0 < line["cost_marginal"] < line["cost"] < 3600
    assert "energy_j" not in bill["machine"]


def test_a_bill_is_for_admins(repository, inside):
    keys = {digest("ours"): "admin", digest("theirs"): {"role": "infer", "tenant": "shop"}}
    url = inside(repository, watch__enabled=False, meter__file="none", keys=keys).url
    with Client(url, api_key="theirs") as client, pytest.raises(ServerError, match="'admin' is needed"):
        client.bill()
    with Client(url, api_key="ours") as client:
        assert client.bill()["lines"] == []
