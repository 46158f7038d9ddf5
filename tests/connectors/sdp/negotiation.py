"""Offers of a peer with its codecs and keys, and a session with a pool of ports that answers them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors.sdp.description import (
    AudioMedia,
    Crypto,
    MediaLine,
    Origin,
    RtpCodec,
    SessionDescription,
    encode,
    parse,
)
from connectors.sdp.offer_answer import Capabilities, Negotiated, NegotiationSession
from connectors.sdp.sdes import AES_CM_128_HMAC_SHA1_80

OURS = "203.0.113.5"
PCMU, PCMA, G722 = RtpCodec(0, "PCMU", 8000), RtpCodec(8, "PCMA", 8000), RtpCodec(9, "G722", 8000)
G729, EVENTS = RtpCodec(18, "G729", 8000), RtpCodec(101, "TELEPHONE-EVENT", 8000)
OPUS = RtpCodec(111, "OPUS", 48000, 2, {"stereo": "1"})
KEY = Crypto(1, AES_CM_128_HMAC_SHA1_80, bytes(30))


class Ports:
    """A port pool that remembers."""

    def __init__(self, limit: int = 1000) -> None:
        self.taken: set[int] = set()
        self._next, self._limit = 20000, limit

    def allocate(self) -> int:
        if len(self.taken) >= self._limit:
            raise OSError("no port is free")
        self._next += 2
        self.taken.add(self._next)
        return self._next

    def release(self, port: int) -> None:
        self.taken.remove(port)


@pytest.fixture
def ports() -> Ports:
    return Ports()


Start = Callable[..., NegotiationSession]


@pytest.fixture
def start(ports: Ports) -> Start:
    def start(capabilities: Capabilities | None = None) -> NegotiationSession:
        return NegotiationSession(
            OURS, capabilities or Capabilities(), ports.allocate, release_port=ports.release, session_id=77
        )

    return start


def line(*codecs: RtpCodec, port: int = 4000, address: str | None = "192.0.2.1", **fields: Any) -> AudioMedia:
    return replace(AudioMedia(address, port, codecs=codecs or (PCMU,)), **fields)


def offer(*media: MediaLine, version: int = 1) -> SessionDescription:
    return SessionDescription(Origin("-", "1", version, "192.0.2.1"), "192.0.2.1", media)


def answered(session: NegotiationSession, *media: MediaLine) -> tuple[list[MediaLine], list[Negotiated]]:
    """The lines of the answer, as the peer reads them from the wire, and what was agreed."""
    description, agreed = session.answer(offer(*media))
    lines = list(parse(encode(description)).media)
    assert len(lines) == len(media)
    assert agreed == session.streams
    return lines, agreed


def secure(*crypto: Crypto, **fields: Any) -> AudioMedia:
    return line(protocol="RTP/SAVP", crypto=crypto or (KEY,), **fields)
