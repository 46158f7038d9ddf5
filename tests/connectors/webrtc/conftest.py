"""Fixtures of the tests of WHIP."""

from tests.connectors.webrtc.whip import serve

__all__ = ["serve"]
