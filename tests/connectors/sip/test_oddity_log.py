"""The log of what peers write wrong is bounded, however many they are."""

import pytest

from connectors.sip.message.message import Oddity, SipResponse
from connectors.sip.message.parser import MalformedMessage
from connectors.sip.oddity_log import MOST_LINES, OddityLog
from connectors.sip.transaction import Flow


def test_lines_are_bounded_over_all_peers(caplog: pytest.LogCaptureFixture) -> None:
    log, odd = OddityLog(), SipResponse(200, "OK", oddities=[Oddity("Route", ignored=True)])
    with caplog.at_level("INFO"):
        for number in range(2 * MOST_LINES):
            log.log(odd, Flow("UDP", (f"10.0.{number // 256}.{number % 256}", 5060), ("10.9.9.9", 5060)))
    assert len(caplog.records) == MOST_LINES + 1
    assert "counted only" in caplog.records[-1].getMessage()


def test_what_is_no_sip_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        OddityLog().log(
            MalformedMessage("No SIP start line", drop=True), Flow("UDP", ("10.0.0.1", 1), ("10.9.9.9", 5060))
        )
    assert caplog.records == []
