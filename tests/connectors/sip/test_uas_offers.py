"""The server's offers and answers in INVITE, ACK and UPDATE, without a socket and in virtual time."""

from connectors.sip.call import SipCallState
from connectors.sip.message.message import SipResponse
from connectors.sip.uas import Acknowledged, Answer, Ended, EndReason, Reoffer
from tests.connectors.sip.peers import ANSWER, OFFER, Caller, line, only, refused

LATE = Answer(ANSWER, is_offer=True)


def test_late_offer_is_answered_in_the_ack() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE")
    server.put(invite)
    server.uas.calls.accept(server.incoming(), LATE, server.now)
    caller.learn(only(server.collect()))
    server.put(caller.ack(invite, OFFER))
    event = server.take(Acknowledged)
    assert event.answer is not None
    assert event.answer.body == OFFER


def test_ack_without_the_answer_ends_the_call() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE")
    server.put(invite)
    server.uas.calls.accept(server.incoming(), LATE, server.now)
    caller.learn(only(server.collect()))
    server.put(caller.ack(invite))
    assert server.take(Ended).reason is EndReason.NO_ANSWER
    assert len(server.requests("BYE")) == 1


def test_reinvite_is_answered_and_acknowledged() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    assert server.take(Reoffer).call is call
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    assert only(server.collect()).status == 200
    assert [one.status for one in server.wait(1.6) if isinstance(one, SipResponse)] == [200, 200]
    server.put(caller.ack(invite))
    assert server.wait(60) == []
    assert len(server.uas.calls) == 1


def test_refused_reinvite_leaves_the_call_as_it_was() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    server.put(caller.request("INVITE", OFFER))
    server.uas.calls.reject(call, 488, server.now)
    assert only(server.collect()).status == 488
    assert call.state is SipCallState.CONFIRMED
    assert only(server.put(caller.request("BYE"))).status == 200


def test_reinvite_without_its_ack_ends_the_call() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    server.put(caller.request("INVITE", OFFER))
    server.take(Reoffer)
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    server.collect()
    server.wait(33)
    assert server.take(Ended).reason is EndReason.NO_ACK


def test_second_invite_while_the_first_is_unanswered_is_told_to_come_again() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    server.put(caller.request("INVITE", OFFER))
    server.happened.clear()
    for method in ("INVITE", "UPDATE"):
        answer = refused(server, caller.request(method, OFFER))
        assert answer.status == 500
        assert 0 <= int(answer.headers.get("Retry-After") or -1) <= 10
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    assert only(server.collect()).status == 200


def test_offer_while_ours_is_unanswered_is_glare() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE")
    server.put(invite)
    server.uas.calls.accept(server.incoming(), LATE, server.now)
    caller.learn(only(server.collect()))
    assert refused(server, caller.request("UPDATE", OFFER)).status == 491
    assert refused(server, caller.request("INVITE", OFFER)).status == 491
    server.put(caller.ack(invite, OFFER))
    server.take(Acknowledged)
    server.put(caller.request("UPDATE", OFFER))
    server.take(Reoffer)


def test_reinvite_after_a_lost_ack_shows_that_the_200_came() -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER))
    call = server.incoming()
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.put(caller.request("INVITE", OFFER))
    server.take(Reoffer)
    server.uas.calls.reject(call, 488, server.now)
    server.collect()
    server.wait(40)
    assert [one.status for one in server.responses(200)] == [200]
    assert len(server.uas.calls) == 1


def test_update_with_an_offer_is_answered_by_the_user_and_without_by_the_core() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    server.put(caller.request("UPDATE", OFFER))
    assert server.take(Reoffer).call is call
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    assert only(server.collect()).body == ANSWER
    assert server.wait(60) == []
    target = "<sip:caller@192.0.2.123>"
    assert only(server.put(caller.request("UPDATE", Contact=target))).status == 200
    assert call.dialog.remote_target.host == "192.0.2.123"
    assert server.happened == []
