"""Peers that several tests of SIP use."""

from collections.abc import Iterator

import pytest

from testing.services.missing import ServiceMissing
from tests.services.missing import missing
from tests.services.rtpengine import RtpEngine


@pytest.fixture(scope="module")
def rtpengine() -> Iterator[RtpEngine]:
    """A running rtpengine on loopback."""
    try:
        engine = RtpEngine()
        engine.start()
    except ServiceMissing as error:
        missing(str(error))
    yield engine
    engine.remove()
