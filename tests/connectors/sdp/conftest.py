"""Fixtures of the tests of negotiation."""

from tests.connectors.sdp.negotiation import ports, start

__all__ = ["ports", "start"]
