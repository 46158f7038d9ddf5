"""The server's answers to whole scenarios, without a socket and in virtual time."""

from typing import Any

import pytest

from connectors.errors import LocalProtocolError
from connectors.sip.call import TABLE, SipCallState
from connectors.sip.digest import DigestAuthenticator, DigestClient
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.uas import Acknowledged, Answer, Ended, EndReason, Info, Reoffer
from tests.connectors.sip.peers import ANSWER, OFFER, Caller, line, only, refused

# -- set-up and end


def test_call_from_invite_to_bye() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    assert server.put(invite) == []
    call = server.incoming()
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    (ok,) = server.collect()
    assert isinstance(ok, SipResponse)
    assert (ok.status, ok.body, str(ok.content_type)) == (200, ANSWER, "application/sdp")
    assert ok.headers.get("Contact") == "<sip:trunkline@192.0.2.1:5060>"
    assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "PRACK", "UPDATE"} == set(ok.headers.get_list("Allow"))
    assert {"100rel", "timer", "replaces", "siprec"} <= set(ok.supported)
    caller.learn(ok)
    assert server.put(caller.ack(invite)) == []
    assert server.take(Acknowledged).answer is None
    assert only(server.put(caller.request("BYE"))).status == 200
    assert server.take(Ended).reason is EndReason.BYE
    assert len(server.uas.calls) == 0
    server.wait(40)
    assert server.uas.next_timer() is None
    assert len(server.uas.transactions) == 0


def test_states_of_a_call_end_all() -> None:
    reached = {after for after, _ in TABLE.values()}
    assert {state for state in SipCallState if state not in {before for before, _ in TABLE}} == {SipCallState.ENDED}
    assert reached == set(SipCallState) - {SipCallState.INCOMING}


def test_bye_before_the_ack_ends_the_call_too() -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER))
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    assert only(server.put(caller.request("BYE"))).status == 200
    assert server.take(Ended).reason is EndReason.BYE
    assert [message for message in server.wait(40) if isinstance(message, SipResponse)] == []


def test_bye_ends_its_call_whatever_it_bears() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    assert only(server.put(caller.request("BYE", b"\x0c\x02", content_type="application/isup"))).status == 200
    assert server.take(Ended).reason is EndReason.BYE


def test_our_bye_waits_for_the_ack() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    call = server.incoming()
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.uas.calls.hang_up(call, server.now)
    assert server.collect() == []
    assert only(server.wait(0.6)).status == 200
    (bye,) = server.put(caller.ack(invite))
    assert isinstance(bye, SipRequest)
    assert bye.method == "BYE"
    assert server.happened == []


def test_hang_up_before_the_answer_refuses_the_invite() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.hang_up(server.incoming(), server.now)
    assert only(server.collect()).status == 480
    assert len(server.uas.calls) == 0


def test_bye_answers_a_reinvite_that_nobody_has_answered() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    server.put(caller.request("INVITE", OFFER))
    server.take(Reoffer)
    answers = server.put(caller.request("BYE"))
    assert [(one.cseq.method, one.status) for one in answers if isinstance(one, SipResponse)] == [
        ("BYE", 200),
        ("INVITE", 487),
    ]
    assert server.take(Ended).reason is EndReason.BYE


def test_our_bye_leaves_no_request_without_an_answer() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    server.put(caller.request("INVITE", OFFER))
    server.uas.calls.hang_up(call, server.now)
    messages = server.collect()
    assert [message.cseq.method for message in messages] == ["BYE", "INVITE"]
    assert [one.status for one in messages if isinstance(one, SipResponse)] == [487]


def test_call_that_we_are_leaving_is_not_changed_any_more() -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER))
    call = server.incoming()
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.uas.calls.hang_up(call, server.now)
    assert refused(server, caller.request("INVITE", OFFER)).status == 481
    server.put(caller.request("INFO", b"5", content_type="application/dtmf"))
    assert server.happened == []


def test_lost_ack_ends_the_call_with_a_bye() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER))
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    server.collect()
    server.wait(31.9)
    assert server.happened == []
    assert len(server.uas.calls) == 1
    server.wait(0.2)
    assert server.take(Ended).reason is EndReason.NO_ACK
    assert server.requests("BYE")


def test_answering_what_nobody_asked_is_our_mistake() -> None:
    server = line()
    call = Caller(server).call()
    with pytest.raises(LocalProtocolError):
        server.uas.calls.accept(call, Answer(ANSWER), server.now)


# -- CANCEL


def cancel_of(caller: Caller, invite: SipRequest) -> SipRequest:
    return caller.request("CANCEL", cseq=invite.cseq.number, branch=invite.via.branch)


def test_cancel_is_answered_and_its_invite_gets_487() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    server.uas.calls.ring(server.incoming(), server.now)
    ringing = only(server.collect())
    answers = server.put(cancel_of(caller, invite))
    assert [one.status for one in answers if isinstance(one, SipResponse)] == [200, 487]
    assert {one.to.tag for one in answers} == {ringing.to.tag}
    assert [one.cseq.method for one in answers] == ["CANCEL", "INVITE"]
    assert server.take(Ended).reason is EndReason.CANCELLED
    assert len(server.uas.calls) == 0


def test_cancel_after_the_answer_changes_nothing() -> None:
    server = line()
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    server.uas.calls.accept(server.incoming(), Answer(ANSWER), server.now)
    server.collect()
    assert only(server.put(cancel_of(caller, invite))).status == 200
    assert server.happened == []
    assert len(server.uas.calls) == 1


def test_cancel_of_nothing() -> None:
    server = line()
    caller = Caller(server)
    assert refused(server, caller.request("CANCEL")).status == 481


def test_cancelled_reinvite_leaves_the_call() -> None:
    server = line()
    caller = Caller(server)
    caller.call()
    invite = caller.request("INVITE", OFFER)
    server.put(invite)
    server.happened.clear()
    answers = server.put(cancel_of(caller, invite))
    assert [one.status for one in answers if isinstance(one, SipResponse)] == [200, 487]
    assert len(server.uas.calls) == 1
    assert server.happened == []


# -- authentication


def test_invite_is_challenged_and_its_call_is_not() -> None:
    server = line(authenticator=DigestAuthenticator("phones", {"alice": "secret"}.get))
    caller = Caller(server)
    invite = caller.request("INVITE", OFFER)
    challenge = refused(server, invite)
    assert challenge.status == 401
    assert len(challenge.headers.get_all("WWW-Authenticate")) == 2
    server.put(caller.request("ACK", cseq=1, branch=invite.via.branch))
    _, value = DigestClient("alice", "secret").authorize(challenge, "INVITE", invite.uri)
    again = caller.request("INVITE", OFFER, Authorization=value)
    server.put(again)
    call = server.incoming()
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    caller.learn(only(server.collect()))
    server.put(caller.ack(again))
    assert only(server.put(caller.request("BYE"))).status == 200


def test_wrong_password_and_replay_get_another_challenge() -> None:
    server = line(authenticator=DigestAuthenticator("phones", {"alice": "secret"}.get))
    caller = Caller(server)
    challenge = refused(server, caller.request("INVITE", OFFER))
    _, value = DigestClient("alice", "guess").authorize(challenge, "INVITE", caller.target)
    assert refused(server, caller.request("INVITE", OFFER, Authorization=value)).status == 401
    _, value = DigestClient("alice", "secret").authorize(challenge, "INVITE", caller.target)
    server.put(caller.request("INVITE", OFFER, Authorization=value))
    server.incoming()
    assert refused(server, Caller(server).request("INVITE", OFFER, Authorization=value)).status == 401


def test_options_needs_no_password() -> None:
    server = line(authenticator=DigestAuthenticator("phones", dict[str, str]().get))
    assert only(server.put(Caller(server).request("OPTIONS"))).status == 200


# -- INFO


def test_keys_come_as_info_and_are_answered_at_once() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call()
    body = b"Signal=5\r\nDuration=160\r\n"
    assert only(server.put(caller.request("INFO", body, content_type="application/dtmf-relay"))).status == 200
    assert server.take(Info) == Info(call, "application/dtmf-relay", body)
    assert only(server.put(caller.request("INFO"))).status == 200
    assert server.happened == []
    assert only(server.put(caller.request("INFO", b"x", content_type="image/png"))).status == 415
    packaged = only(
        server.put(caller.request("INFO", body, content_type="application/dtmf-relay", Info_Package="dtmf"))
    )
    assert (packaged.status, packaged.reason, packaged.headers.get("Recv-Info")) == (469, "Bad Info Package", "")


# -- Replaces (RFC 3891)


def replaces(caller: Caller, more: str = "") -> str:
    return f"{caller.call_id};to-tag={caller.to_tag};from-tag={caller.tag}{more}"


def test_replacing_call_takes_over_and_the_old_one_gets_a_bye() -> None:
    server = line()
    old = Caller(server)
    call = old.call()
    server.put(Caller(server).request("INVITE", OFFER, Replaces=replaces(old)))
    taking = server.incoming()
    assert taking.replaces is call
    assert server.requests("BYE") == []
    server.uas.calls.accept(taking, Answer(ANSWER), server.now)
    server.collect()
    (bye,) = server.requests("BYE")
    assert bye.call_id == old.call_id
    event = server.take(Ended)
    assert (event.call, event.reason) == (call, EndReason.REPLACED)


@pytest.mark.parametrize(
    ("more", "change", "status"),
    [("", {"call_id": "unknown"}, 481), (";early-only", {}, 486), ("", {"tag": "other"}, 481)],
)
def test_replaces_that_does_not_fit(more: str, change: dict[str, str], status: int) -> None:
    server = line()
    old = Caller(server)
    old.call()
    for name, value in change.items():
        setattr(old, name, value)
    assert refused(server, Caller(server).request("INVITE", OFFER, Replaces=replaces(old, more))).status == status
    assert len(server.uas.calls) == 1


def test_recording_client_is_known_by_its_tag_or_its_extension() -> None:
    ways: tuple[dict[str, Any], ...] = ({"Require": "siprec"}, {"Contact": "<sip:src@192.0.2.10>;+sip.src"})
    for fields in ways:
        server = line()
        server.put(Caller(server).request("INVITE", OFFER, **fields))
        call = server.incoming()
        assert call.is_recording
        server.uas.calls.accept(call, Answer(ANSWER), server.now)
        assert "+sip.srs" in (only(server.collect()).headers.get("Contact") or "")


def test_hang_up_twice_sends_one_bye() -> None:
    server = line()
    call = Caller(server).call()
    for _ in range(2):
        server.uas.calls.hang_up(call, server.now)
    server.collect()
    assert len(server.requests("BYE")) == 1
