"""Errors of the SIP messages.

ConnectorError
└── SipParseError     the peer's message is wrong: the status and reason that answer it, or a message to drop
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.errors import ConnectorError

if TYPE_CHECKING:
    from connectors.sip.message.message import SipRequest


class SipParseError(ConnectorError):
    """The peer's message breaks the grammar or a limit.

    `status`, `reason`: the answer; the reason is our own text and carries nothing of the message.
    `partial`: as much of the request as the answer needs, whose `response()` it is; None when there is nothing to
    answer. `drop`: no answer is sent (responses, ACK, and what is not SIP at all). `close`: the framing of a stream is
    lost, so its connection ends after the answer (RFC 4475, section 3.3.9).
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int = 400,
        partial: SipRequest | None = None,
        drop: bool = False,
        close: bool = False,
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.partial = partial
        self.drop = drop
        self.close = close
