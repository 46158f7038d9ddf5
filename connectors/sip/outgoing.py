"""What the SIP server sends: answers to the requests of peers, and requests of its own within a call (RFC 3261,
sections 8.2.6 and 12.2.1).

Sits between the calls and the transactions, which repeat what is sent as their timers say.
"""

from collections.abc import Callable, Sequence

from connectors.sip.call import Answer, Pending, SipCall
from connectors.sip.dialog import bracketed
from connectors.sip.inspection import ALLOW, Refusal
from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.options import UasOptions
from connectors.sip.stats import UasStats
from connectors.sip.transaction import Flow, Transaction, Transactions


class Outgoing:
    """`token`: makes tags and branches that nobody can guess, in hexadecimal."""

    def __init__(
        self, options: UasOptions, transactions: Transactions, stats: UasStats, token: Callable[[], str]
    ) -> None:
        self.transactions = transactions
        self.token = token
        self._options, self._stats = options, stats

    def random(self, below: int) -> int:
        return int(self.token(), 16) % below

    @property
    def retry_after(self) -> tuple[str, str]:
        """The header field of every 503."""
        return ("Retry-After", str(self._options.retry_after_s))

    def contact(self, call: SipCall) -> str:
        """Ours, with the feature tag of a recording server towards a recording client (RFC 7866, section 6.1.2)."""
        flow = call.flow
        host, port = flow.local
        transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
        tag = ";+sip.srs" if call.is_recording else ""
        return f"<sip:{self._options.user}@{bracketed(host)}:{port}{transport}>{tag}"

    # -- answers

    def answer(
        self,
        pending: Pending,
        tag: str,
        status: int,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        content: Answer | None = None,
    ) -> SipResponse:
        """Answer a request. `tag`: of its To."""
        if self._options.server_name:
            headers = [*headers, ("Server", self._options.server_name)]
        body = b"" if content is None else content.body
        kind = content.content_type if content is not None and body else None
        response = pending.request.response(status, to_tag=tag, headers=headers, body=body, content_type=kind)
        self.transactions.respond(pending.transaction, response, now)
        return response

    def refuse(self, pending: Pending, refusal: Refusal, now: float, tag: str | None = None) -> None:
        """Answer a request with a failure. `tag`: of its To, a new one where there is no dialog."""
        self._stats.refused[refusal.status] += 1
        request = pending.request
        response = request.response(refusal.status, refusal.reason, to_tag=tag or self.token(), headers=refusal.headers)
        self.transactions.respond(pending.transaction, response, now)

    def refuse_statelessly(self, request: SipRequest, flow: Flow, refusal: Refusal) -> None:
        """Answer a request that has no transaction with a failure (section 8.2.7)."""
        self._stats.refused[refusal.status] += 1
        response = request.response(refusal.status, refusal.reason, to_tag=self.token(), headers=refusal.headers)
        self.transactions.out.append((response, flow))

    # -- requests of ours

    def request(
        self,
        call: SipCall,
        method: str,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
    ) -> Transaction:
        """Send a request within the call's dialog."""
        branch = f"z9hG4bK{self.token()}"
        request, flow = call.dialog.request(method, branch)
        request.headers.add("Contact", self.contact(call))
        request.headers.add("Allow", ALLOW)
        for name, value in headers:
            request.headers.add(name, value)
        if self._options.server_name:
            request.headers.add("User-Agent", self._options.server_name)
        if body:
            request.headers.add("Content-Type", content_type)
            request.body = body
        transaction = self.transactions.request(request, branch, flow, now)
        transaction.usage = call
        return transaction

    def acknowledge(self, call: SipCall, invite: Transaction) -> None:
        """The ACK of a 2xx to an INVITE of ours, again with every repetition of it (13.2.2.4)."""
        number = invite.request.cseq.number
        if call.acked is None or call.acked[0] != number:
            request, flow = call.dialog.request("ACK", f"z9hG4bK{self.token()}", cseq=number)
            call.acked = (number, request, flow)
        self.transactions.out.append(call.acked[1:])
