"""Reliable provisional answers (RFC 3262) and session timers (RFC 4028), in virtual time."""

import pytest

from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.session_timer import SessionTimerOptions
from connectors.sip.uas import Answer, Ended, EndReason, UasOptions
from tests.connectors.sip.peers import ANSWER, OFFER, TCP, Caller, Line, answer_to, line, only, refused

# -- 100rel (RFC 3262)


def rel_invite(server: Line, caller: Caller) -> SipResponse:
    """An INVITE that requires reliable provisional answers, ringing."""
    server.put(caller.request("INVITE", OFFER, Require="100rel"))
    server.uas.calls.ring(server.incoming(), server.now)
    ringing = only(server.collect())
    assert ringing.require == ("100rel",)
    caller.learn(ringing)
    return ringing


def test_reliable_ringing_is_repeated_until_prack_and_the_200_waits_for_it() -> None:
    server = line()
    caller = Caller(server)
    server.put(caller.request("INVITE", OFFER, Require="100rel"))
    call = server.incoming()
    server.uas.calls.ring(call, server.now)
    ringing = only(server.collect())
    caller.learn(ringing)
    server.uas.calls.accept(call, Answer(ANSWER), server.now)
    assert server.collect() == []
    server.wait(4)
    assert server.times(lambda one: isinstance(one, SipResponse) and one.status == 180) == [0, 0.5, 1.5, 3.5]
    answers = server.put(caller.request("PRACK", RAck=f"{ringing.headers.get('RSeq')} 1 INVITE"))
    assert [(one.cseq.method, one.status) for one in answers if isinstance(one, SipResponse)] == [
        ("PRACK", 200),
        ("INVITE", 200),
    ]
    server.put(caller.request("ACK", cseq=1))
    assert server.wait(60) == []


def test_second_ringing_waits_for_no_prack_of_its_own() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER, Require="100rel"))
    call = server.incoming()
    for _ in range(2):
        server.uas.calls.ring(call, server.now)
    assert only(server.collect()).headers.get("RSeq") == str(call.rseq)


def test_prack_of_another_answer_is_refused() -> None:
    server = line()
    caller = Caller(server)
    rseq = int(rel_invite(server, caller).headers.get("RSeq") or 0)
    for rack in (f"{rseq + 1} 1 INVITE", f"{rseq} 2 INVITE", f"{rseq} 1 UPDATE"):
        assert only(server.put(caller.request("PRACK", RAck=rack))).status == 481
    assert only(server.put(caller.request("PRACK", RAck="nonsense"))).status == 400
    assert only(server.put(caller.request("PRACK", RAck=f"{rseq} 1 INVITE"))).status == 200


def test_call_without_its_prack_is_refused_with_504() -> None:
    server = line()
    rel_invite(server, Caller(server))
    server.wait(33)
    assert server.take(Ended).reason is EndReason.NO_PRACK
    assert server.responses(504)
    assert len(server.uas.calls) == 0


def test_ringing_is_plain_where_nothing_is_required() -> None:
    server = line()
    server.put(Caller(server).request("INVITE", OFFER, Supported="100rel"))
    server.uas.calls.ring(server.incoming(), server.now)
    ringing = only(server.collect())
    assert (ringing.status, ringing.headers.get("RSeq"), ringing.require) == (180, None, ())
    assert server.wait(30) == []


# -- session timers (RFC 4028)


def test_session_interval_below_ours_is_refused_with_it() -> None:
    server = line(UasOptions(session_timers=SessionTimerOptions(min_se_s=120)))
    answer = refused(server, Caller(server).request("INVITE", OFFER, Supported="timer", Session_Expires="90"))
    assert (answer.status, answer.headers.get("Min-SE")) == (422, "120")


def test_peer_that_refreshes_keeps_the_call_and_one_that_stops_loses_it() -> None:
    server = line()
    caller = Caller(server)
    caller.call(Supported="timer", Session_Expires="90;refresher=uac")
    ok = server.responses(200)[-1]
    assert (ok.headers.get("Session-Expires"), ok.require) == ("90;refresher=uac", ("timer",))
    server.wait(50)
    update = caller.request("UPDATE", Supported="timer", Session_Expires="90;refresher=uac")
    assert only(server.put(update)).headers.get("Session-Expires") == "90;refresher=uac"
    server.wait(59)
    assert server.happened == []
    server.wait(2)
    assert server.take(Ended).reason is EndReason.EXPIRED
    assert server.requests("BYE")


def test_we_refresh_by_update_where_the_peer_has_it() -> None:
    server = line()
    caller = Caller(server)
    caller.call(Supported="timer", Session_Expires="90", Allow="INVITE, ACK, BYE, UPDATE")
    assert server.responses(200)[-1].headers.get("Session-Expires") == "90;refresher=uas"
    for _ in range(3):
        server.wait(45)
        (update,) = server.requests()
        assert (update.method, update.headers.get("Session-Expires")) == ("UPDATE", "90;refresher=uac")
        server.put(answer_to(update, 200, Session_Expires="90;refresher=uac"))
        server.sent.clear()
    assert len(server.uas.calls) == 1


@pytest.mark.parametrize("status", [481, 408])
def test_refresh_that_finds_nobody_ends_the_call(status: int) -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], status))
    assert server.take(Ended).reason is EndReason.REFRESH_FAILED
    assert server.requests("BYE")


def test_unanswered_refresh_ends_the_call() -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45 + 32.1)
    assert server.take(Ended).reason is EndReason.REFRESH_FAILED


def test_refresh_too_short_for_a_proxy_is_raised_and_sent_again() -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], 422, Min_SE="300"))
    server.wait(0)
    update = server.requests("UPDATE")[1]
    assert update.headers.get("Session-Expires") == "300;refresher=uac"
    assert update.headers.get("Min-SE") == "300"


def test_refresh_goes_on_as_reinvite_where_update_is_not_allowed_after_all() -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], 405))
    server.wait(0)
    assert server.requests("INVITE")[0].body == ANSWER


def test_glare_of_a_refresh_is_tried_again_within_2_s() -> None:
    server = line(flow=TCP)
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], 491))
    server.wait(2)
    assert len(server.requests("UPDATE")) == 2


def refusals(server: Line, status: int, count: int, **fields: str) -> list[float]:
    """When the refreshes were sent, each of the first `count` being refused at once."""
    times: list[float] = []
    for number in range(count + 1):
        while len(server.requests("UPDATE")) <= number and server.uas.calls:
            server.wait(0.5)
        if len(server.requests("UPDATE")) <= number:
            break
        times = [at - 1000.0 for at, one, _ in server.sent if isinstance(one, SipRequest) and one.method == "UPDATE"]
        if number < count:
            server.put(answer_to(server.requests("UPDATE")[number], status, **fields))
    return [float(round(at, 3)) for at in times]


@pytest.mark.parametrize("status", [500, 503, 504, 480, 486, 600])
@pytest.mark.parametrize("after", ["2", " 2 (busy)", "2;duration=60"])
def test_refresh_refused_for_a_moment_is_tried_again_when_the_peer_asks_for_it(status: int, after: str) -> None:
    server = line(flow=TCP)
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], status, Retry_After=after))
    server.wait(1.9)
    assert len(server.requests("UPDATE")) == 1
    server.wait(0.2)
    server.put(answer_to(server.requests("UPDATE")[1], 200, Session_Expires="90;refresher=uac"))
    server.wait(44)
    assert (len(server.uas.calls), len(server.requests("UPDATE"))) == (1, 2)


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({}, [45.0, 46.0, 48.0, 52.0, 58.0, 74.0, 88.0]),
        ({"Retry_After": "0"}, [45.0, 46.0, 48.0, 52.0, 58.0, 74.0, 88.0]),
        ({"Retry_After": "soon"}, [45.0, 46.0, 48.0, 52.0, 58.0, 74.0, 88.0]),
        ({"Retry_After": "3600"}, [45.0, 58.0, 88.0]),
    ],
    ids=["none", "at once", "unreadable", "too late"],
)
def test_refresh_that_stays_refused_is_tried_with_growing_pauses_and_before_the_session_ends(
    fields: dict[str, str], times: list[float]
) -> None:
    """The peer ends the session 30 s before its interval is over (RFC 4028, section 10), we when it is."""
    server = line(flow=TCP)
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    assert refusals(server, 500, 20, **fields) == times
    assert server.take(Ended).reason is EndReason.EXPIRED


@pytest.mark.parametrize("least", ["", "soon"])
def test_refresh_too_short_by_an_amount_that_cannot_be_read_is_tried_again(least: str) -> None:
    server = line(flow=TCP)
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], 422, Min_SE=least))
    server.wait(1)
    assert len(server.requests("UPDATE")) == 2


def test_incoming_invite_while_ours_is_on_its_way_is_glare() -> None:
    server = line()
    caller = Caller(server)
    caller.call(Supported="timer", Session_Expires="90", Allow="INVITE")
    server.wait(45)
    assert server.requests("INVITE")
    assert refused(server, caller.request("INVITE", OFFER)).status == 491


def test_refresh_waits_while_an_offer_of_the_peer_is_open() -> None:
    server = line()
    caller = Caller(server)
    call = caller.call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(44)
    server.put(caller.request("UPDATE", OFFER, Supported="timer", Session_Expires="90"))
    server.wait(5)
    assert server.requests() == []
    server.uas.calls.reject(call, 488, server.now)
    server.collect()
    server.wait(3)
    assert server.requests()[0].method == "UPDATE"


def test_answer_whose_interval_cannot_be_read_keeps_the_one_asked_for() -> None:
    server = line(flow=TCP)
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    for number in range(3):
        server.wait(45)
        assert len(server.requests("UPDATE")) == number + 1
        server.put(answer_to(server.requests("UPDATE")[number], 200, Session_Expires="soon"))
    assert len(server.uas.calls) == 1
    assert server.uas.stats.ignored_headers == {"Session-Expires": 3}


def test_answer_that_drops_the_timer_ends_the_refreshing() -> None:
    server = line()
    Caller(server).call(Supported="timer", Session_Expires="90", Allow="UPDATE")
    server.wait(45)
    server.put(answer_to(server.requests("UPDATE")[0], 200))
    server.wait(500)
    assert len(server.requests()) == 1
    assert len(server.uas.calls) == 1
