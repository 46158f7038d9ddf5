"""Errors of the SIP messages.

ConnectorError
└── SipParseError             what a peer wrote breaks the grammar: the status and reason that answer it
    └── MalformedMessage      a whole message that cannot be taken (`connectors.sip.message.parser`)
"""

from connectors.errors import ConnectorError


class SipParseError(ConnectorError):
    """The peer's text breaks the grammar or a limit.

    `status`, `reason`: the answer; the reason is our own text and carries nothing of the message.
    """

    def __init__(self, reason: str, *, status: int = 400) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
