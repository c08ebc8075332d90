"""Accounts: every use is taken once, payers are bounded, and what is closed goes."""

from penstock.core.account import Account, Payer
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing
from penstock.metering.accounts import MOST_TENANTS, OTHERS, Accounts
from penstock.metering.ledger import Ledger

REPLY = Reply("m", "1", {}, Timing(0.0, 0.001, 1))


def ticket(rows=1, answered=True, account=None, **tags):
    one = Ticket(Request(model="m", inputs={}, tags=tags, account=account), rows, 1.0)
    if answered:
        one.answer(REPLY)
    return one


def test_what_was_used_is_taken_once():
    accounts = Accounts()
    accounts.of("m", "1", "shop").queries += 2
    assert accounts.take() == [(Payer("m", "1", "shop"), Account(queries=2))]
    assert accounts.take() == []
    accounts.of("m", "1", "shop").rows += 1
    assert accounts.take() == [(Payer("m", "1", "shop"), Account(rows=1))]


def test_an_account_stays_the_same_one_for_whoever_holds_it():
    accounts = Accounts()
    held = accounts.of("m", "1", "")
    accounts.take()
    assert held is accounts.of("m", "1", "")


def test_tenants_beyond_the_bound_share_an_account():
    accounts = Accounts()
    for at in range(MOST_TENANTS + 5):
        accounts.of("m", "1", f"t{at}").queries += 1
    taken = dict(accounts.take())
    assert len(taken) == MOST_TENANTS + 1
    assert taken[Payer("m", "1", OTHERS)].queries == 5


def test_tenants_of_whom_the_settings_speak_are_never_among_the_others():
    accounts = Accounts()
    accounts.expect(["shop"])
    for at in range(MOST_TENANTS):
        accounts.of("m", "1", f"t{at}").queries += 1
    accounts.of("m", "1", "shop").queries += 7
    taken = dict(accounts.take())
    assert taken[Payer("m", "1", "shop")].queries == 7
    assert len(taken) == MOST_TENANTS + 1


def test_what_an_unloaded_version_used_is_still_taken_and_then_let_go():
    ledger = Ledger()
    book = ledger.book("m", "1")
    book.account("").queries += 1
    ledger.forget("m", "1")
    assert len(ledger.accounts.take()) == 1
    again = ledger.book("m", "1")
    again.account("").queries += 1
    assert ledger.accounts.take() == [(Payer("m", "1", ""), Account(queries=1))]


def test_bytes_of_an_answer_that_is_written_after_its_version_went_are_carried():
    ledger = Ledger()
    ledger.book("m", "1").account("").queries += 1
    ledger.forget("m", "1")
    assert len(ledger.accounts.take()) == 1
    ledger.carried(REPLY, {}, 100, 20)
    assert ledger.accounts.take() == [(Payer("m", "1", ""), Account(received=100, sent=20))]
    again = ledger.book("m", "1")
    again.account("").queries += 1
    assert ledger.accounts.take() == [(Payer("m", "1", ""), Account(queries=1))]


def test_a_batch_is_charged_to_its_payers_by_their_rows():
    ledger = Ledger()
    book = ledger.book("m", "1")
    entries = [ticket(rows=1, tenant="shop"), ticket(rows=3), ticket(rows=2, answered=False, tenant="shop")]
    book.charge(entries, 1.5, 0.25, 0.5)
    taken = dict(ledger.accounts.take())
    assert taken[Payer("m", "1", "shop")] == Account(queries=1, rows=3, queued=1.0, cpu=0.75, gpu=1.5)
    assert taken[Payer("m", "1", "")] == Account(queries=1, rows=3, queued=0.5, cpu=0.75, gpu=1.5)


def test_a_request_that_names_an_account_is_charged_there_and_is_no_query_of_this_model():
    ledger, pipeline = Ledger(), Account()
    ledger.book("m", "1").charge([ticket(account=pipeline)], 1.0, 0.25, 0.0)
    assert ledger.accounts.take() == []
    assert pipeline == Account(rows=1, cpu=0.25)


def test_bytes_are_carried_by_the_model_that_was_asked():
    ledger = Ledger()
    ledger.book("m", "1")
    ledger.carried(REPLY, {"tenant": "shop"}, 100, 20)
    ledger.carried(Reply("unknown", "1", {}, REPLY.timing), {}, 1, 1)
    assert ledger.accounts.take() == [(Payer("m", "1", "shop"), Account(received=100, sent=20))]
