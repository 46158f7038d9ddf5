"""Requests in any order, with anything done about them: nothing is left behind."""

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sip.uas import (
    Answer,
    IncomingCall,
    Reoffer,
)
from tests.connectors.sip.peers import ANSWER, OFFER, TCP, UDP, Caller, line

# -- whatever comes


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "PRACK", "OPTIONS", "REFER"]),
            st.booleans(),
            st.sampled_from([0.0, 0.3, 5.0, 40.0]),
            st.sampled_from(["accept", "reject", "ring", "hang up", "nothing"]),
            st.integers(1, 4),
        ),
        max_size=25,
    ),
    st.sampled_from([UDP, TCP]),
)
def test_any_order_of_requests_leaves_nothing_behind(steps, flow) -> None:  # type: ignore[no-untyped-def]
    server = line(flow=flow)
    caller = Caller(server)
    for method, body, wait, reaction, cseq in steps:
        fields = {"Supported": "timer", "Session_Expires": "90"} if cseq % 2 else {"Require": "100rel"}
        server.put(caller.request(method, OFFER if body else b"", cseq=cseq, branch=f"z9hG4bK{cseq}", **fields))
        while server.happened:
            event = server.happened.pop(0)
            if isinstance(event, IncomingCall | Reoffer):
                call = event.call
                if reaction == "accept":
                    server.uas.calls.accept(call, Answer(ANSWER, is_offer=not body), server.now)
                elif reaction == "reject":
                    server.uas.calls.reject(call, 488, server.now)
                elif reaction == "ring":
                    server.uas.calls.ring(call, server.now)
                elif reaction == "hang up":
                    server.uas.calls.hang_up(call, server.now)
            server.collect()
        for response in server.responses():
            if response.to.tag is not None and response.status in (180, 200):
                caller.to_tag = response.to.tag
        server.wait(wait)
    server.wait(2000)
    while server.happened:
        event = server.happened.pop(0)
        if isinstance(event, IncomingCall | Reoffer) and not event.call.is_over:
            server.uas.calls.hang_up(event.call, server.now)
    server.wait(100)
    assert len(server.uas.transactions) <= len(server.uas.calls)
