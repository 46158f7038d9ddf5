"""Requests within a call: what each of them does to it (RFC 3261, section 12.2.2, 14 and 15; RFC 3262, 3311, 6086)."""

from collections.abc import Callable

from connectors.sip.call import Acknowledged, CallEvent, CallState, EndReason, Info, Pending, Reoffer, SipCall
from connectors.sip.calls import Usages
from connectors.sip.message.envelope import Envelope
from connectors.sip.message.extensions import parse_rack
from connectors.sip.message.inspection import ALLOW, SUPPORTED, Refusal
from connectors.sip.message.message import SipRequest

Handler = Callable[[Usages, SipCall, Pending, float], None]


def reinvite(usages: Usages, call: SipCall, pending: Pending, now: float) -> None:
    """Section 14.2: one at a time, and none while ours is on its way."""
    refusal = _glare(usages, call) or usages.refusal_of_timer(pending.request)
    if refusal is None and call.unacked is not None:
        # A peer that goes on has got our 2xx: its ACK was lost.
        usages.stop_repeating_2xx(call)
        usages.step(call, CallEvent.ACK, now)
    _offer(usages, call, pending, refusal, now)


def update(usages: Usages, call: SipCall, pending: Pending, now: float) -> None:
    """RFC 3311, section 5.2. Without a body it is answered here: a new target, or the session timer."""
    has_body = bool(pending.request.body)
    refusal = _glare(usages, call) if has_body else None
    refusal = refusal or usages.refusal_of_timer(pending.request)
    if refusal is not None or has_body:
        _offer(usages, call, pending, refusal, now)
        return
    headers = [("Contact", usages.contact(call)), ("Allow", ALLOW), ("Supported", SUPPORTED)]
    if call.state is not CallState.INCOMING:
        headers += usages.agree_timer(call, pending.request, now)
    call.dialog.refresh_target(pending.request, pending.transaction.flow)
    usages.answer(pending, call.dialog.local_tag, 200, now, headers)


def bye(usages: Usages, call: SipCall, pending: Pending, now: float) -> None:
    """Section 15.1.2."""
    usages.answer(pending, call.dialog.local_tag, 200, now)
    usages.end(call, CallEvent.BYE, EndReason.BYE, now)


def info(usages: Usages, call: SipCall, pending: Pending, now: float) -> None:
    """Keys pressed. An INFO without a body is a way to ask whether we are there."""
    usages.answer(pending, call.dialog.local_tag, 200, now)
    kind = pending.request.content_type
    if pending.request.body and kind is not None and not call.is_over:
        whole = str(kind) if kind.essence.startswith("multipart/") else kind.essence
        usages.events.append(Info(call, whole, pending.request.body))


def prack(usages: Usages, call: SipCall, pending: Pending, now: float) -> None:
    """RFC 3262, section 3."""
    rack, waiting = parse_rack(pending.request.headers.get("RAck") or ""), call.unpracked
    known = None if waiting is None else (waiting.number, waiting.transaction.request.cseq.number, "INVITE")
    if (rack.rseq, rack.cseq, rack.method) != known:
        usages.refuse(pending, Refusal(481), now, call.dialog.local_tag)
        return
    if pending.request.body:  # our provisional answers carry no description, so there is nothing to renegotiate yet
        usages.refuse(pending, Refusal(488), now, call.dialog.local_tag)
        return
    usages.answer(pending, call.dialog.local_tag, 200, now)
    usages.stop_repeating_1xx(call)
    if call.deferred is not None:
        answer, call.deferred = call.deferred, None
        usages.accept(call, answer, now)


def acknowledge(usages: Usages, request: SipRequest, envelope: Envelope, now: float) -> None:
    """The ACK of a 2xx (section 13.3.1.4)."""
    call = usages.calls.get((envelope.call_id, envelope.to_tag or "", envelope.from_tag or ""))
    if call is None or call.unacked is None or call.unacked.number != envelope.cseq:
        usages.stats.stray_acks += 1
        return
    usages.stop_repeating_2xx(call)
    offered, call.offering = call.offering, False
    was_running = call.state is CallState.CONFIRMED
    usages.step(call, CallEvent.ACK, now)
    if call.is_over:
        return
    if not offered or request.body:
        usages.events.append(Acknowledged(call, request if offered else None))
    elif was_running:  # of a re-INVITE without a body: the session goes on as it was
        usages.stats.unanswered_offers += 1
        usages.events.append(Acknowledged(call, None))
    else:
        usages.end(call, CallEvent.HANG_UP, EndReason.NO_ANSWER, now)


def _glare(usages: Usages, call: SipCall) -> Refusal | None:
    if call.is_over:
        return Refusal(481)
    if call.pending is not None:
        return Refusal(500, (("Retry-After", str(usages.random(11))),))
    if call.offering or (call.refresh is not None and call.refresh.request.method == "INVITE"):
        return Refusal(491)
    return None


def _offer(usages: Usages, call: SipCall, pending: Pending, refusal: Refusal | None, now: float) -> None:
    if refusal is not None:
        usages.refuse(pending, refusal, now, call.dialog.local_tag)
        return
    call.pending = pending
    pending.transaction.usage = call
    usages.events.append(Reoffer(call))


HANDLERS: dict[str, Handler] = {"INVITE": reinvite, "UPDATE": update, "BYE": bye, "INFO": info, "PRACK": prack}
