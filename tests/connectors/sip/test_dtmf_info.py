"""Keys by INFO: from bodies as gateways and telephones write them, and none from what is no key."""

import logging

import pytest

from connectors.sip.dtmf_info import InfoDigit, parse_dtmf
from tests.connectors.sip.stage import Phone, stage

RELAY, DTMF, EVENT = "application/dtmf-relay", "application/dtmf", "audio/telephone-event"
NORTEL = "application/vnd.nortelnetworks.digits"
PART = b"--b\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n--b--\r\n"

TIMED = [
    (RELAY, b"Signal= 5\r\nDuration= 160"),
    (RELAY, b" Signal=5\r\n Duration=160\r\n"),
    (RELAY, b"Signal=5\nDuration=160"),
    (RELAY, b"Signal=5\r\nDuration=160\r\nVolume=10\r\nMode=x\r\n"),
    (RELAY, b"Duration=160\r\nSignal=5\r\n"),
    (RELAY, b'Signal="5"\r\nDuration="160"'),
    (RELAY, b"Signal=5;Duration=160"),
    (RELAY, b"Signal=5, Duration=160"),
    (RELAY, b"Signal=5 Duration=160"),
    (RELAY, b"Signal 5\r\nDuration 160\r\n"),
    (RELAY, b"SIGNAL:5\r\nDURATION:160\r\n"),
    (RELAY, b"d=5\r\nDuration=160\r\n"),
    (RELAY, b"Signal=5\r\nDuration=160\r\n\0"),
    (RELAY, b"\xef\xbb\xbfSignal=5\r\nDuration=160\r\n"),
    (DTMF, b"Signal=5\r\nDuration=160"),
    (EVENT, b"Signal=5\r\nDuration=160"),
    (EVENT, bytes([5, 0x8A, 0x05, 0x00])),
    ("text/plain", b"Signal=5\r\nDuration=160"),
    ("multipart/mixed; boundary=b", PART),
    ("multipart/related; boundary=b", PART),
]
UNTIMED = [
    (RELAY, b"5"),
    (RELAY, b"5\r\n"),
    (RELAY, b"Signal=5"),
    (DTMF, b"5"),
    (DTMF, b" 5\r\n"),
    (DTMF, b"d=5"),
    (EVENT, b"5"),
    (NORTEL, b"p=Digit-Collection\r\ny=Digits\r\ns=success\r\nu=12345678\r\ni=87654321\r\nd=5\r\n"),
]
NO_KEY = [
    (RELAY, b"Signal=123\r\nDuration=160"),
    (RELAY, b"Signal=16\r\nDuration=160"),
    (RELAY, b"Signal=!\r\nDuration=160"),
    (RELAY, b"Signal=\r\nDuration=160"),
    (RELAY, b"Duration=5"),
    (RELAY, b"Signal=5x"),
    (RELAY, b"xSignal=5"),
    (DTMF, b"55"),
    (DTMF, b"hello"),
    (EVENT, bytes([5, 0x0A, 0x05, 0x00])),
    (EVENT, bytes([16, 0x8A, 0x05, 0x00])),
    ("text/plain", b"5"),
    ("text/plain", b"no signal at all"),
    ("application/sdp", b"Signal=5"),
    ("multipart/mixed", PART),
    ("multipart/mixed; boundary=other", PART),
]


@pytest.mark.parametrize(("content_type", "body"), TIMED)
def test_a_key_and_its_length_are_read_however_they_are_written(content_type: str, body: bytes) -> None:
    assert parse_dtmf(content_type, body) == InfoDigit("5", 0.16)


@pytest.mark.parametrize(("content_type", "body"), UNTIMED)
def test_a_key_without_a_length_is_a_key(content_type: str, body: bytes) -> None:
    assert parse_dtmf(content_type, body) == InfoDigit("5", 0.0)


@pytest.mark.parametrize(("code", "digit"), [(b"10", "*"), (b"11", "#"), (b"12", "A"), (b"15", "D"), (b"d", "D")])
def test_events_by_number_are_their_keys(code: bytes, digit: str) -> None:
    assert parse_dtmf(RELAY, b"Signal=" + code) == InfoDigit(digit, 0.0)
    assert parse_dtmf(DTMF, code) == InfoDigit(digit, 0.0)


@pytest.mark.parametrize(("content_type", "body"), NO_KEY)
def test_what_is_no_key_or_several_is_none(content_type: str, body: bytes) -> None:
    assert parse_dtmf(content_type, body) is None


async def test_keys_of_all_kinds_of_bodies_are_published(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as server:
        phone = await Phone.open(server.address)
        caller = phone.caller()
        await phone.call(caller)
        for content_type, body in TIMED + UNTIMED:
            info = caller.request("INFO", body, content_type=content_type)
            assert (await phone.ask(info)).status == 200, (content_type, body)
        assert (await phone.ask(caller.request("BYE"))).status == 200
        await server.ended()
        phone.close()
        assert server.keys() == ["5"] * len(TIMED + UNTIMED)
        assert server.connector.stats.unread_infos == 0


async def test_bodies_without_a_key_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as server:
        phone = await Phone.open(server.address)
        caller = phone.caller()
        await phone.call(caller)
        for body in (b"Signal=123", b"Signal=!"):
            assert (await phone.ask(caller.request("INFO", body, content_type=RELAY))).status == 200
        assert (await phone.ask(caller.request("BYE"))).status == 200
        await server.ended()
        phone.close()
        assert server.keys() == []
        assert server.connector.stats.unread_infos == 2
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert told == [f"call {caller.call_id}: no key can be read of an INFO with {RELAY}: left out"]
