"""One line of the log for each kind of oddity that a peer sends, so that somebody can have the peer mended."""

import logging

from connectors.sip.message.message import SipRequest, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.transaction import Flow

logger = logging.getLogger(__name__)

MOST_LINES = 1_024
"""Anybody can write wrong, from any address: what comes after so many lines is counted only."""


class OddityLog:
    """Says what was ignored, mended or refused once for each peer and kind; all of it is counted elsewhere."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def log(self, message: SipRequest | SipResponse | MalformedMessage, flow: Flow) -> None:
        """A message that came from a peer."""
        if isinstance(message, MalformedMessage):
            if not message.drop:
                self._say(flow, f"a request was refused with {message.status} {message.reason}: mend the peer")
            return
        for header, ignored in message.oddities:
            if ignored:
                self._say(flow, f"{header} cannot be read and was ignored, as nothing needs it")
            else:
                self._say(flow, f"{header} breaks the grammar and was taken for what it plainly means")

    def _say(self, flow: Flow, what: str) -> None:
        key = (flow.remote[0], what)
        if key in self._said or len(self._said) >= MOST_LINES:
            return
        self._said.add(key)
        logger.info("SIP from %s: %s (said once, counted further)", flow.remote[0], what)
        if len(self._said) == MOST_LINES:
            logger.warning("SIP: so many oddities of peers were said; from now on they are counted only")
