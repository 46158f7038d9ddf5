"""Session timers of the calls (RFC 4028): agreed to in a 2xx, refreshed by requests of ours, expired.

`session_timer` has the rules and the time of one session; here they meet the requests and answers of a call.
"""

from connectors.sip.call import CallTimer, EndReason, SipCall
from connectors.sip.inspection import SUPPORTED, Refusal
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.outgoing import Outgoing
from connectors.sip.session_timer import (
    LONGEST_S,
    Due,
    SessionExpires,
    SessionTimer,
    SessionTimerOptions,
    Terms,
    TooSmall,
    negotiate,
    seconds,
)
from connectors.sip.timers import Deadlines
from connectors.sip.transaction import Transaction

GONE = frozenset({408, 481})
"""Answers to a request of ours that end its dialog (RFC 3261, section 12.2.1.2)."""


class SessionRefresh:
    """Owns `timer`, `refresh` and `min_se_s` of each call. Where a call is to end, a method returns the reason."""

    def __init__(
        self, options: SessionTimerOptions, outgoing: Outgoing, deadlines: Deadlines[tuple[SipCall, CallTimer]]
    ) -> None:
        self._options, self._outgoing, self._deadlines = options, outgoing, deadlines

    def refusal(self, request: SipRequest) -> Refusal | None:
        """422 for an interval that is too short."""
        terms = self._terms(request)
        return Refusal(422, (("Min-SE", str(terms.min_se_s)),)) if isinstance(terms, TooSmall) else None

    def agree(self, call: SipCall, request: SipRequest, now: float) -> list[tuple[str, str]]:
        """Start the session timer that a 2xx agrees to; its header fields."""
        terms = self._terms(request)
        if not isinstance(terms, Terms):
            self._set(call, None)
            return []
        we_refresh = terms.expires.refresher == "uas"
        self._set(call, SessionTimer(terms.expires.interval_s, we_refresh=we_refresh, now=now))
        return [("Session-Expires", str(terms.expires)), *([("Require", "timer")] if terms.require else [])]

    def stop(self, call: SipCall) -> None:
        """The call is over."""
        self._set(call, None)

    def handle_timer(self, call: SipCall, now: float) -> EndReason | None:
        """`SESSION` of a call is due: a refresh, or the end of the session."""
        if call.timer is None:
            return None
        due = call.timer.due(now)
        if due is Due.EXPIRED:
            return EndReason.EXPIRED
        if due is Due.REFRESH:
            self._refresh(call, call.timer, now)
        self._set(call, call.timer)
        return None

    def receive_response(
        self, call: SipCall, transaction: Transaction, response: SipResponse, now: float
    ) -> EndReason | None:
        """The final answer to a request of ours; those that are no refresh change nothing."""
        if call.refresh is not transaction:
            return None
        call.refresh = None
        if call.is_over or call.timer is None:
            return None
        if response.status < 300:
            self._refreshed(call, call.timer, response, now)
            return None
        if response.status in GONE:
            return EndReason.REFRESH_FAILED
        if response.status == 422 and (least := seconds(response.headers.get("Min-SE"))):
            call.min_se_s = min(max(call.min_se_s, least), LONGEST_S)
            call.timer.retry_at(now)
        elif response.status in (405, 501) and transaction.request.method == "UPDATE":
            call.peer_allows -= {"UPDATE"}
            call.timer.retry_at(now)
        elif response.status == 491:  # 14.1: who does not own the Call-ID waits up to 2 s
            call.timer.retry_at(now + self._outgoing.random(200) / 100)
        else:
            call.timer.refused(now, seconds(response.headers.get("Retry-After")))
        self._set(call, call.timer)
        return None

    def time_out(self, call: SipCall, transaction: Transaction) -> EndReason | None:
        """A request of ours was not answered."""
        if call.refresh is not transaction:
            return None
        call.refresh = None
        return EndReason.REFRESH_FAILED

    def _terms(self, request: SipRequest) -> Terms | TooSmall | None:
        """What a request asks for comes to."""
        asked = request.headers.get("Session-Expires")
        least = request.headers.get("Min-SE")
        supported = "timer" in request.supported or "timer" in request.require
        return negotiate(
            None if asked is None else SessionExpires.parse(asked),
            seconds(least),
            supported=supported,
            options=self._options,
        )

    def _set(self, call: SipCall, timer: SessionTimer | None) -> None:
        call.timer = timer
        if timer is None:
            self._deadlines.cancel((call, CallTimer.SESSION))
        else:
            self._deadlines.set((call, CallTimer.SESSION), timer.next_timer())

    def _refresh(self, call: SipCall, timer: SessionTimer, now: float) -> None:
        """UPDATE where the peer knows it, else a re-INVITE that repeats our description (section 7.4)."""
        if call.refresh is not None or call.pending is not None or call.unacked is not None:
            timer.retry_at(now + 1 + self._outgoing.random(200) / 100)  # never two offers at a time
            return
        method = "UPDATE" if "UPDATE" in call.peer_allows else "INVITE"
        interval = max(timer.interval_s, call.min_se_s)
        headers = [("Supported", SUPPORTED), ("Session-Expires", f"{interval};refresher=uac")]
        if call.min_se_s:
            headers.append(("Min-SE", str(call.min_se_s)))
        body = call.local_sdp if method == "INVITE" else b""
        call.refresh = self._outgoing.request(call, method, now, headers, body)

    def _refreshed(self, call: SipCall, timer: SessionTimer, response: SipResponse, now: float) -> None:
        """Section 7.2: the answer says who refreshes the next time; without the field there is no timer any more. A
        field that cannot be read leaves what was asked for."""
        contacts = response.contacts
        if contacts:
            call.dialog.remote_target = contacts[0].uri
        agreed = response.headers.get("Session-Expires")
        if agreed is None:
            self._set(call, None)
            return
        expires = SessionExpires.parse(agreed)
        if expires is None:
            timer.refreshed(now)
        else:
            interval = max(expires.interval_s, 1)
            timer = SessionTimer(interval, we_refresh=expires.refresher != "uas", now=now)
        self._set(call, timer)
