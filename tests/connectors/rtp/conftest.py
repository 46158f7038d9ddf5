"""Fixtures of the tests with sockets."""

from tests.connectors.rtp.sockets import opened, peer, ports

__all__ = ["opened", "peer", "ports"]
