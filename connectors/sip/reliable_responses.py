"""Answers to an INVITE that are sent again until the peer acknowledges them: a 2xx until its ACK (RFC 3261, section
13.3.1.4), a reliable provisional answer until its PRACK (RFC 3262, section 3)."""

from connectors.sip.call import CallTimer, Pending, Repeated, SipCall
from connectors.sip.message.message import SipResponse
from connectors.sip.timers import Deadlines
from connectors.sip.transaction import TimerValues, Transactions


class ReliableResponses:
    """Sets the timers of the calls; `repeat` is what one of `REPEAT_2XX` and `REPEAT_1XX` does. What comes of a call
    whose answer is not acknowledged within `limit` is for the calls to say."""

    def __init__(
        self, timers: TimerValues, transactions: Transactions, deadlines: Deadlines[tuple[SipCall, CallTimer]]
    ) -> None:
        self._timers, self._transactions, self._deadlines = timers, transactions, deadlines

    def start_2xx(self, call: SipCall, pending: Pending, response: SipResponse, now: float) -> None:
        """A 2xx was sent."""
        timers = self._timers
        call.unacked = Repeated(response, pending.transaction, pending.envelope.cseq, timers.t1)
        self._deadlines.set((call, CallTimer.REPEAT_2XX), now + timers.t1)
        self._deadlines.set((call, CallTimer.LIMIT_2XX), now + timers.limit)

    def start_1xx(self, call: SipCall, pending: Pending, response: SipResponse, now: float) -> None:
        """A provisional answer with the RSeq `call.rseq` was sent."""
        timers = self._timers
        call.unpracked = Repeated(response, pending.transaction, call.rseq, timers.t1)
        self._deadlines.set((call, CallTimer.REPEAT_1XX), now + timers.t1)
        self._deadlines.set((call, CallTimer.LIMIT_1XX), now + timers.limit)

    def stop_2xx(self, call: SipCall) -> None:
        call.unacked = None
        self._deadlines.cancel((call, CallTimer.REPEAT_2XX))
        self._deadlines.cancel((call, CallTimer.LIMIT_2XX))

    def stop_1xx(self, call: SipCall) -> None:
        call.unpracked = None
        self._deadlines.cancel((call, CallTimer.REPEAT_1XX))
        self._deadlines.cancel((call, CallTimer.LIMIT_1XX))

    def repeat(self, call: SipCall, timer: CallTimer, now: float) -> None:
        """Send an answer again, over streams, too, as a proxy on the way may use datagrams. The interval of a 2xx grows
        to T2, that of a provisional answer without an upper bound."""
        is_2xx = timer is CallTimer.REPEAT_2XX
        again = call.unacked if is_2xx else call.unpracked
        if again is None:
            return
        self._transactions.stats.repeated += 1
        self._transactions.respond(again.transaction, again.response, now)
        again.interval = min(2 * again.interval, self._timers.t2) if is_2xx else 2 * again.interval
        self._deadlines.set((call, timer), now + again.interval)
