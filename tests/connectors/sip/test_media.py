"""The media of calls with peers whose descriptions and packets are not as the RFCs have them; real sockets."""

import asyncio
import socket

import pytest

from connectors.codecs import usable
from connectors.rtp.config import RtpConfig
from connectors.rtp.dtmf import EventPayload
from connectors.rtp.rtcp import ReceiverReport, encode_compound
from tests.connectors.sip.stage import LOOPBACK, Phone, changed, stage


async def test_peer_that_sends_only_reports_is_not_hung_up_on() -> None:
    async with stage(changed(rtp=RtpConfig(inactivity_s=0.5))) as server:
        phone = await Phone.open(server.address)
        port = (await phone.call(phone.caller())).audio[0][1].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for _ in range(30):
                control.sendto(encode_compound([ReceiverReport(7)]), (LOOPBACK, port + 1))
                await asyncio.sleep(0.1)
        assert server.connector.stats.calls == 1
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "no media"
        phone.close()


@pytest.mark.skipif(not usable("OPUS"), reason="libopus is not installed")
@pytest.mark.parametrize("clock", [8_000, 16_000, 48_000])
async def test_keys_beside_opus_are_heard_whatever_their_clock_is(clock: int) -> None:
    async with stage(changed()) as server:
        phone = await Phone.open(server.address)
        offer = phone.offer(codecs="96 101").replace(
            b"a=rtpmap:101 telephone-event/8000",
            b"a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/%d" % clock,
        )
        line = (await phone.call(phone.caller(), offer)).audio[0][1]
        assert [codec.key for codec in line.codecs] == [("OPUS", 48_000, 2), ("TELEPHONE-EVENT", clock, 1)]
        for k in range(6):
            payload = EventPayload(event=5, end=k >= 3, volume=10, duration=clock // 50 * min(k + 1, 4)).encode()
            phone.say(line.port, payload, payload_type=101, timestamp=1_600)
        await server.until(server.keys)
        assert server.keys() == ["5"]
        phone.close()


async def test_description_with_byte_order_mark_and_tabs_is_answered_and_counted() -> None:
    async with stage(changed()) as server:
        phone = await Phone.open(server.address)
        offer = b"\xef\xbb\xbf" + phone.offer().replace(b"a=rtpmap:101 ", b"a=rtpmap:101\t") + b"a=ptime:soon\r\n"
        line = (await phone.call(phone.caller(), offer)).audio[0][1]
        assert [codec.name for codec in line.codecs] == ["PCMU", "TELEPHONE-EVENT"]
        stats = server.connector.stats
        assert (stats.sdp_mended, stats.sdp_ignored) == (2, 1)
        phone.close()
