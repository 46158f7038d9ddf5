"""Offers as clients other than browsers write them, to the endpoint with the real peer connection: what has one plain
meaning is answered, what has none is refused in a line, and nothing is a fault of ours.
"""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connectors.webrtc.config import WebRtcConfig, WebRtcLimits
from connectors.webrtc.peer import WebRtcConnector
from connectors.webrtc.whip import IceFragment
from tests.connectors.fakes import FakeCalls
from tests.connectors.webrtc.offers import FINGERPRINT, audio_line, fragment, offer

Client = TestClient[Any, Any]
CONNECTOR = web.AppKey("connector", WebRtcConnector)

OBS = "\r\n".join(
    [
        *("v=0", "o=rtc 3877212184 0 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=group:LS 0"),
        *("a=msid-semantic:WMS *", "a=setup:actpass", "a=ice-ufrag:nxcM", "a=ice-pwd:ezjAjgSSLLvbRhUA1zc6Se"),
        *("a=ice-options:ice2,trickle", f"a=fingerprint:{FINGERPRINT}", "m=audio 57249 UDP/TLS/RTP/SAVPF 111"),
        *("c=IN IP4 192.0.2.53", "a=mid:0", "a=sendonly", "a=ssrc:3388068600 cname:Y", "a=msid:X X-audio"),
        *("a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;stereo=1;useinbandfec=1"),
        *("a=candidate:1 1 UDP 2122317823 192.0.2.53 57249 typ host", "a=end-of-candidates", ""),
    ]
)
"""As libdatachannel, the library of OBS, writes it: the transport is said for the session."""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    connector = WebRtcConnector(FakeCalls(), WebRtcConfig())
    application = web.Application()
    application.add_routes(connector.routes())
    application[CONNECTOR] = connector
    async with TestClient(TestServer(application)) as opened:
        yield opened
        await connector.close()


async def post(client: Client, text: str) -> tuple[int, str]:
    """Status and answer; a session that was started is ended."""
    async with client.post("/whip", data=text.encode(), headers={"Content-Type": "application/sdp"}) as response:
        answer = await response.text()
        if response.status == 201:
            async with client.delete(response.headers["Location"]) as ended:
                assert ended.status == 200
        return response.status, answer


def with_lines(*extra: str) -> str:
    return offer([*audio_line(), *extra])


def irregular(client: Client) -> int:
    assert client.app is not None
    return int(client.app[CONNECTOR].stats.irregular)


async def test_an_offer_whose_transport_is_said_for_the_session_is_answered(client: Client) -> None:
    status, answer = await post(client, OBS)
    assert (status, "a=recvonly" in answer, irregular(client)) == (201, True, 0)


@pytest.mark.parametrize("session", ["", "a=sendrecv\r\n", "a=sendonly\r\n"])
async def test_a_line_without_a_direction_has_that_of_the_session_or_sends_and_receives(
    client: Client, session: str
) -> None:
    text = offer(audio_line()).replace("a=sendonly\r\n", "").replace("t=0 0\r\n", f"t=0 0\r\n{session}")
    status, answer = await post(client, text)
    assert (status, "a=recvonly" in answer) == (201, True)


async def test_a_session_that_only_receives_is_refused(client: Client) -> None:
    text = offer(audio_line()).replace("a=sendonly\r\n", "").replace("t=0 0\r\n", "t=0 0\r\na=recvonly\r\n")
    assert await post(client, text) == (422, "an audio line is recvonly: nothing would be sent\n")


@pytest.mark.parametrize(
    "line",
    [
        *("a=ssrc:abc cname:x", "a=ssrc:1", "a=ssrc:1 cname", "a=ssrc-group:FID x", "a=ssrc-group:"),
        *("a=rtcp:x", "a=rtcp:", "a=rtcp:9 IN IP4"),
        *("a=rtcp-fb:", "a=rtcp-fb:111", "a=fmtp:", "a=fmtp:111", "a=fmtp:abc x=1", "a=fmtp:97 x=1"),
        *("a=rtpmap:97", "a=rtpmap:97 x", "a=rtpmap:97 x/y", "a=rtpmap:97 x/1/z", "a=msid:"),
    ],
)
async def test_an_attribute_that_is_not_needed_never_decides_over_an_offer(
    client: Client, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    for _ in range(2):
        assert (await post(client, with_lines(line)))[0] == 201
    assert irregular(client) == 2
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["/whip: left 1 attributes of an offer out that cannot be read and are not needed"]


@pytest.mark.parametrize("line", ["a=group:", "a=group", "a=msid-semantic", "a=msid-semantic:", "a=ice-options"])
async def test_neither_does_one_of_the_session(client: Client, line: str) -> None:
    text = offer(audio_line()).replace("t=0 0\r\n", f"t=0 0\r\n{line}\r\n")
    assert (await post(client, text))[0] == 201
    assert irregular(client) == 1


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111\topus/48000/2"),
        ("SAVPF 111", "SAVPF \t111"),
        ("UDP/TLS/RTP/SAVPF", "udp/tls/rtp/savpf"),
        ("a=ice-ufrag:", "a=ice-ufrag: "),
        ("a=setup:", "a=setup :"),
        ("\r\n", "  \r\n"),
        ("v=0", "\ufeffv=0"),
    ],
)
async def test_white_space_and_case_that_mean_nothing_are_no_obstacle(client: Client, plain: str, written: str) -> None:
    text = offer(audio_line())
    assert plain in text
    assert (await post(client, text.replace(plain, written)))[0] == 201


async def test_two_lines_of_one_name_are_refused(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert await post(client, offer(audio_line(0), audio_line(0))) == (400, "two lines in use have the same mid\n")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "text", ['{"type":"offer","sdp":"v=0"}', "dj0wDQo=", offer(audio_line()).replace("\r\n", "\\r\\n")]
)
async def test_an_offer_wrapped_in_something_else_is_refused_in_a_line(client: Client, text: str) -> None:
    status, answer = await post(client, text)
    assert (status, answer.count("\n")) == (400, 1)


def test_a_fragment_with_a_mark_or_white_space_is_of_its_session() -> None:
    plain = fragment("a=candidate:1 1 udp 1 192.0.2.1 5000 typ host")
    for text in (f"\ufeff{plain}", plain.replace("ufrag:", "ufrag: ").replace("pwd:", "pwd:\t")):
        assert IceFragment.parse(text, WebRtcLimits()) == IceFragment.parse(plain, WebRtcLimits())
