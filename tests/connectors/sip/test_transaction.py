"""The machines of RFC 3261, section 17, in virtual time: what comes twice happens once, what is lost is repeated."""

import pytest

from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.timers import Deadlines
from connectors.sip.transaction import TimerValues
from connectors.sip.transaction_tables import CLIENT, INVITE_CLIENT, INVITE_SERVER, SERVER, Table
from connectors.sip.uas import Answer, UasOptions
from tests.connectors.sip.peers import ANSWER, OFFER, TCP, UDP, Caller, Line, answer_to, line, only


def status(code: int):  # type: ignore[no-untyped-def]
    return lambda message: isinstance(message, SipResponse) and message.status == code


def method(name: str):  # type: ignore[no-untyped-def]
    return lambda message: isinstance(message, SipRequest) and message.method == name


DOUBLING = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
"""T1, doubled until T2, until 64 T1 are over."""


@pytest.mark.parametrize("table", [INVITE_SERVER, SERVER, INVITE_CLIENT, CLIENT])
def test_every_state_of_a_machine_can_be_left(table: Table) -> None:
    ways = {state for state, _ in table}
    reached = {after for after, _ in table.values()}
    assert {state for state in reached if state not in ways} == {max(reached, key=lambda one: one.value)}


# -- non-INVITE server


def test_retransmitted_request_gets_the_same_answer_for_32_s_over_udp() -> None:
    server = line()
    options = Caller(server).request("OPTIONS")
    first = only(server.put(options))
    server.wait(31.9)
    assert only(server.put(options)) == first
    assert server.uas.transactions.stats.retransmissions == 1
    server.wait(0.2)
    assert len(server.uas.transactions) == 0
    assert only(server.put(options)) != first  # the To tag is another: a new request now


def test_answer_over_a_stream_is_forgotten_at_once() -> None:
    server = line(flow=TCP)
    only(server.put(Caller(server).request("OPTIONS")))
    assert server.wait(0) == []
    assert len(server.uas.transactions) == 0


# -- INVITE server


def test_100_is_sent_when_no_answer_came_within_200_ms() -> None:
    server = line()
    invite = Caller(server).request("INVITE", OFFER)
    assert server.put(invite) == []
    assert server.wait(0.19) == []
    trying = only(server.wait(0.02))
    assert (trying.status, trying.to.tag) == (100, None)
    assert only(server.put(invite)).status == 100
    call = server.incoming()
    assert server.happened == []
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    assert only(server.collect()).status == 200


def test_no_100_after_an_answer_within_200_ms() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.ring(server.incoming(), server.now)
    server.collect()
    server.wait(1)
    assert server.responses(100) == []


@pytest.mark.parametrize(("flow", "times"), [(UDP, DOUBLING), (TCP, [0])])
def test_failure_is_repeated_until_its_ack_or_32_s(flow, times: list[float]) -> None:  # type: ignore[no-untyped-def]
    server = line(flow=flow)
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.reject(server.incoming(), 486, server.now)
    server.collect()
    server.wait(40)
    assert server.times(status(486)) == times
    assert server.uas.transactions.stats.unacknowledged == 1
    assert len(server.uas.transactions) == 0


def test_ack_stops_a_failure_and_is_absorbed_for_t4() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER, branch="z9hG4bK-same")
    server.put(invite)
    server.uas.calls.reject(server.incoming(), 486, server.now)
    caller.learn(only(server.collect()))
    ack = caller.request("ACK", cseq=1, branch="z9hG4bK-same")
    assert server.put(ack) == []
    server.wait(4.9)
    assert server.times(status(486)) == [0]
    assert server.put(ack) == []
    assert len(server.uas.transactions) == 1
    server.wait(0.2)
    assert len(server.uas.transactions) == 0
    assert server.uas.transactions.stats.unacknowledged == 0


def test_lost_200_is_repeated_though_the_invite_comes_again() -> None:
    """RFC 6026: the transaction swallows the INVITE, the core repeats its 200 by its own timer."""
    server = line()
    invite = Caller(server).request("INVITE", OFFER)
    server.put(invite)
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    server.collect()
    server.now += 0.1
    assert server.put(invite) == []
    assert only(server.wait(0.4)).status == 200


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_200_is_repeated_until_the_ack_over_any_transport_then_bye(flow) -> None:  # type: ignore[no-untyped-def]
    server = line(flow=flow)
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    server.collect()
    server.wait(33)
    assert server.times(status(200)) == DOUBLING
    assert len(server.requests("BYE")) == (2 if flow is UDP else 1)
    assert len(server.uas.calls) == 0


def test_ack_stops_the_200() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    server.wait(60)
    assert server.times(status(200)) == [0]
    assert server.requests() == []


def test_same_request_over_two_ways_is_answered_once() -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER, cseq=1, branch="z9hG4bK-one"))
    assert only(server.put(caller.request("INVITE", OFFER, cseq=1, branch="z9hG4bK-two"))).status == 482
    assert server.uas.transactions.stats.merged == 1
    assert len(server.happened) == 1


def test_old_client_without_a_magic_cookie_is_matched_by_the_rest() -> None:
    server = line()
    caller = Caller(server)
    options = caller.request("OPTIONS", branch="1")
    first = only(server.put(options))
    assert only(server.put(options)) == first
    other = caller.request("OPTIONS", branch="1")  # the next CSeq under the same branch
    assert only(server.put(other)) != first
    assert server.uas.transactions.stats.requests == 2


def test_transactions_are_bounded_and_a_peer_is_told() -> None:
    server = line(UasOptions(max_transactions=10, max_transactions_per_peer=3))
    for _ in range(3):
        assert only(server.put(Caller(server).request("OPTIONS"))).status == 200
    refused = only(server.put(Caller(server).request("OPTIONS")))
    assert (refused.status, refused.headers.get("Retry-After")) == (503, "5")
    other = UDP._replace(remote=("192.0.2.99", 5060))
    assert only(server.put(Caller(server).request("OPTIONS"), other)).status == 200
    server.wait(33)
    assert only(server.put(Caller(server).request("OPTIONS"))).status == 200
    assert server.uas.transactions.stats.full == 1


# -- where answers go


def test_answer_over_udp_goes_to_the_source_address_and_the_port_of_the_via() -> None:
    server = line()
    via = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-nat"
    answer = only(server.put(Caller(server).request("OPTIONS", Via=via), UDP._replace(remote=("192.0.2.10", 40000))))
    assert server.sent[-1][2].remote == ("192.0.2.10", 5070)
    assert answer.via.received == "192.0.2.10"


def test_answer_goes_to_the_source_port_where_rport_asks_for_it() -> None:
    server = line()
    via = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-nat;rport, SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK-x"
    answer = only(server.put(Caller(server).request("OPTIONS", Via=via), UDP._replace(remote=("192.0.2.10", 40000))))
    assert server.sent[-1][2].remote == ("192.0.2.10", 40000)
    assert answer.via.parameters.get("rport") == "40000"
    assert [hop.host for hop in answer.vias] == ["10.0.0.1", "10.0.0.9"]


def test_maddr_sends_our_answers_nowhere_else() -> None:
    server = line()
    via = "SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK-m;maddr=198.51.100.1"
    server.put(Caller(server).request("OPTIONS", Via=via))
    assert server.sent[-1][2].remote == PEER_5060


PEER_5060 = ("192.0.2.10", 5060)


# -- client


def test_bye_is_repeated_until_its_answer() -> None:
    server = line()
    call = Caller(server).call()
    server.uas.calls.hang_up(call, server.now)
    server.collect()
    server.wait(4)
    (bye, *_) = server.requests("BYE")
    assert server.times(method("BYE")) == [0, 0.5, 1.5, 3.5]
    server.put(answer_to(bye, 200))
    server.wait(60)
    assert len(server.requests("BYE")) == 4
    assert len(server.uas.transactions) == 0


def test_bye_without_an_answer_is_given_up_after_32_s() -> None:
    server = line()
    server.uas.calls.hang_up(Caller(server).call(), server.now)
    server.collect()
    server.wait(100)
    assert server.times(method("BYE")) == DOUBLING
    assert server.uas.transactions.stats.timeouts == 1
    assert len(server.uas.transactions) == 0


def test_provisional_answer_slows_a_bye_down_to_t2() -> None:
    server = line()
    server.uas.calls.hang_up(Caller(server).call(), server.now)
    (bye,) = [message for message in server.collect() if isinstance(message, SipRequest)]
    server.put(answer_to(bye, 100))
    server.wait(10)
    assert server.times(method("BYE")) == [0, 0.5, 4.5, 8.5]


def test_bye_over_a_stream_is_sent_once() -> None:
    server = line(flow=TCP)
    server.uas.calls.hang_up(Caller(server).call(), server.now)
    server.collect()
    server.wait(100)
    assert server.times(method("BYE")) == [0]


def test_answer_to_nothing_is_counted() -> None:
    server = line()
    server.put(Caller(server).request("OPTIONS").response(200))
    assert server.uas.transactions.stats.stray == 1


def refresher(allow: str, flow=UDP) -> tuple[Line, Caller]:  # type: ignore[no-untyped-def]
    """A call whose session we refresh after 45 s, by a re-INVITE where the peer has no UPDATE."""
    server = line(UasOptions(timers=TimerValues()), flow=flow)
    caller = Caller(server)
    caller.call(Supported="timer", Session_Expires="90;refresher=uas", Allow=allow)
    return server, caller


def test_reinvite_of_ours_is_repeated_and_a_failure_is_acknowledged_each_time() -> None:
    server, _ = refresher("INVITE, ACK, BYE")
    server.wait(46.6)
    assert server.times(method("INVITE")) == [0, 0.5, 1.5]
    busy = answer_to(server.requests("INVITE")[0], 500)
    for _ in range(2):
        (ack,) = server.put(busy)
        assert isinstance(ack, SipRequest)
        assert (ack.method, ack.via, ack.cseq.number) == ("ACK", server.requests("INVITE")[0].via, 1)
    server.wait(30)
    assert len([one for one in server.requests("INVITE") if one.cseq.number == 1]) == 3


def test_200_to_a_reinvite_of_ours_is_acknowledged_each_time() -> None:
    server, caller = refresher("INVITE, ACK, BYE")
    server.wait(45)
    (invite,) = server.requests("INVITE")
    assert invite.body == ANSWER
    ok = answer_to(invite, 200, Contact=caller.contact, Session_Expires="90;refresher=uac")
    acks = [server.put(ok) for _ in range(2)]
    assert acks[0] == acks[1]
    for (ack,) in acks:
        assert isinstance(ack, SipRequest)
        assert (ack.method, ack.cseq.number) == ("ACK", invite.cseq.number)
        assert ack.via.branch != invite.via.branch
    server.wait(44)
    assert len(server.requests("INVITE")) == 1


# -- deadlines


def test_deadlines_come_in_order_and_moved_ones_once() -> None:
    deadlines = Deadlines[str]()
    deadlines.set("b", 2.0)
    deadlines.set("a", 1.0)
    deadlines.set("b", 0.5)
    deadlines.set("c", 3.0)
    deadlines.cancel("c")
    assert deadlines.next() == 0.5
    assert deadlines.due(10.0) == ["b", "a"]
    assert deadlines.next() is None
    assert len(deadlines) == 0


def test_deadlines_that_are_moved_for_ever_take_no_memory() -> None:
    deadlines = Deadlines[int]()
    for at in range(10_000):
        deadlines.set(at % 7, float(at))
    assert len(deadlines._heap) < 100
    assert deadlines.due(1e9) == [(9993 + k) % 7 for k in range(7)]
