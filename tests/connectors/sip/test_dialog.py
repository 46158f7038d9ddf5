"""Dialogs: where requests of ours go, and which of the peer's are in order (RFC 3261, section 12)."""

from typing import Any

import pytest

from connectors.sip.message.message import SipRequest
from connectors.sip.uas import Answer, Reoffer
from tests.connectors.sip.peers import ANSWER, OFFER, PEER, TCP, UDP, Caller, Line, answer_to, line, only

ROUTES = "<sip:192.0.2.50:5080;lr>, <sip:edge.example.com;lr>"


def bye_of(server: Line, caller: Caller, **fields: Any) -> SipRequest:
    server.uas.calls.hang_up(caller.call(**fields), server.now)
    (bye,) = server.collect()
    assert isinstance(bye, SipRequest)
    return bye


def test_request_of_ours_mirrors_the_invite() -> None:
    server = line()
    caller = Caller(server, contact="<sip:caller@192.0.2.77:5070>")
    bye = bye_of(server, caller)
    assert (bye.method, str(bye.uri)) == ("BYE", "sip:caller@192.0.2.77:5070")
    assert (bye.from_.tag, bye.to.tag, bye.call_id) == (caller.to_tag, caller.tag, caller.call_id)
    assert bye.cseq.number == 1
    assert bye.via.sent_by == ("192.0.2.1", 5060)
    assert server.sent[-1][2].remote == ("192.0.2.77", 5070)


def test_routes_are_taken_in_the_order_of_the_invite_and_come_back_in_the_200() -> None:
    server = line()
    caller = Caller(server)
    bye = bye_of(server, caller, Record_Route=ROUTES)
    assert bye.headers.get_list("Route") == ROUTES.split(", ")
    assert server.sent[-1][2].remote == ("192.0.2.50", 5080)
    assert server.responses(200)[0].headers.get_list("Record-Route") == ROUTES.split(", ")


def test_strict_router_gets_the_request_uri() -> None:
    server = line()
    bye = bye_of(server, Caller(server), Record_Route="<sip:192.0.2.50>, <sip:192.0.2.51;lr>")
    assert str(bye.uri) == "sip:192.0.2.50"
    assert bye.headers.get_list("Route") == ["<sip:192.0.2.51;lr>", "<sip:caller@192.0.2.10:5060>"]


def test_name_in_the_contact_is_not_looked_up() -> None:
    server = line()
    bye_of(server, Caller(server, contact="<sip:caller@pbx.example.com>"))
    assert server.sent[-1][2].remote == PEER


def test_peer_behind_nat_is_reached_where_its_requests_come_from() -> None:
    server = line(flow=UDP._replace(remote=("192.0.2.10", 33333)))
    caller = Caller(server, contact="<sip:caller@10.0.0.5:5060>", via="10.0.0.5:5060;rport")
    bye_of(server, caller)
    assert server.sent[-1][2].remote == ("192.0.2.10", 33333)


def test_connection_is_kept() -> None:
    server = line(flow=TCP)
    bye = bye_of(server, Caller(server))
    assert server.sent[-1][2].connection == TCP.connection
    assert bye.via.transport == "TCP"
    assert server.responses(200)[0].headers.get("Contact") == "<sip:trunkline@192.0.2.1:5060;transport=tcp>"


def test_reinvite_moves_the_remote_target_when_it_is_accepted() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    for status, host in ((488, "192.0.2.10"), (200, "192.0.2.88")):
        server.put(caller.request("INVITE", OFFER, Contact="<sip:caller@192.0.2.88>"))
        assert server.take(Reoffer).call is call
        if status == 200:
            server.uas.calls.accept(call, Answer(ANSWER), server.now)
        else:
            server.uas.calls.reject(call, status, server.now)
        server.collect()
        assert call.dialog.remote_target.host == host


def test_request_that_falls_behind_is_refused_and_a_gap_is_not() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    assert only(server.put(caller.request("INFO", cseq=20))).status == 200
    assert only(server.put(caller.request("INFO", cseq=19))).status == 500
    assert only(server.put(caller.request("INFO", cseq=21))).status == 200


@pytest.mark.parametrize("method", ["INVITE", "BYE", "UPDATE", "INFO", "PRACK", "OPTIONS"])
def test_request_in_an_unknown_dialog_is_refused(method: str) -> None:
    server = line()
    caller = Caller(server)
    caller.to_tag = "nobody"
    answer = only(server.put(caller.request(method, OFFER if method == "INVITE" else b"")))
    assert answer.status == 481
    assert server.happened == []


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INFO", "PRACK"])
def test_request_that_needs_a_dialog_is_refused_without_one(method: str) -> None:
    server = line()
    assert only(server.put(Caller(server).request(method))).status == 481


def test_dialog_is_known_by_both_tags() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    caller.tag = "another"
    assert only(server.put(caller.request("BYE"))).status == 481
    assert len(server.uas.calls) == 1


def test_own_numbers_go_up() -> None:
    server = line()
    caller = Caller(server)
    caller.call(Supported="timer", Session_Expires="90;refresher=uas", Allow="UPDATE")
    numbers = []
    for _ in range(2):
        server.wait(45)
        update = server.requests("UPDATE")[-1]
        numbers.append(update.cseq.number)
        server.put(answer_to(update, 200, Session_Expires="90;refresher=uac"))
    assert numbers == [1, 2]
