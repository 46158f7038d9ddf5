"""Behind Kamailio and rtpengine, with the configuration in docs/kamailio.cfg."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connectors.sdp.description import SessionDescription, parse
from connectors.sip.message.message import SipRequest
from sinks.record import SpeakerRole
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports
from tests.connectors.sip.peers import Caller
from tests.connectors.sip.stage import LOOPBACK, Phone, Stage, stage
from tests.services.kamailio import Kamailio
from tests.services.missing import missing
from tests.services.rtpengine import MEDIA_PORTS, RtpEngine
from trunkline.loadtest.bodies import Participant, metadata, offer, recording

CONFIG = Path(__file__).parents[3] / "docs" / "kamailio.cfg"


@asynccontextmanager
async def front(rtpengine: RtpEngine, *servers: Stage) -> AsyncIterator[Kamailio]:
    """The documented configuration with the addresses of this machine."""
    (port,) = free_ports(1)
    text = CONFIG.read_text()
    for documented, here in (
        ("192.0.2.5:5060", f"{LOOPBACK}:{port}"),
        ("/etc/kamailio", "{folder}"),
        ("127.0.0.1:2223", f"{LOOPBACK}:{rtpengine.address[1]}"),
    ):
        assert documented in text
        text = text.replace(documented, here)
    addresses = "".join(f"1 sip:{host}:{port}\n" for host, port in (server.address for server in servers))
    try:
        kamailio = Kamailio((LOOPBACK, port), {"kamailio.cfg": text, "dispatcher.list": addresses})
        kamailio.start()
    except ServiceMissing as error:
        missing(str(error))
    try:
        yield kamailio
    finally:
        kamailio.remove()


@asynccontextmanager
async def phone_at(kamailio: Kamailio) -> AsyncIterator[Phone]:
    phone = await Phone.open(kamailio.address)
    try:
        yield phone
    finally:
        phone.close()


async def call(phone: Phone, caller: Caller, body: bytes, **fields: Any) -> tuple[SessionDescription, str]:
    """INVITE, 200, ACK through the proxy: the server's description and the route of the dialog."""
    invite = caller.request("INVITE", body, **fields)
    ok = await phone.ask(invite)
    assert ok.status == 200
    caller.learn(ok)
    (route,) = ok.headers.get_all("Record-Route")
    phone.put(routed(caller.ack(invite), route))
    return parse(ok.body), route


def routed(request: SipRequest, route: str) -> SipRequest:
    request.headers.add("Route", route)
    return request


async def test_full_server_is_passed_over_and_media_go_through_rtpengine(rtpengine: RtpEngine) -> None:
    async with (
        stage(max_sessions=0) as full,
        stage() as server,
        front(rtpengine, full, server) as kamailio,
        phone_at(kamailio) as phone,
    ):
        for count in (1, 2):  # in turns, so that one of them meets the full server first
            caller = phone.caller()
            answer, route = await call(phone, caller, phone.offer())
            ((_, line),) = answer.audio
            assert MEDIA_PORTS[0] <= line.port <= MEDIA_PORTS[1]
            await phone.talk(line.port, 0.4)
            await server.until(lambda: server.recognizer.running[-1].pushed)
            assert (await phone.ask(routed(caller.request("BYE"), route))).status == 200
            ends = await server.ended(count)
            assert ends[-1].reason == "completed"
        assert full.connector.uas.stats.refused == {503: 1}
        assert full.records == []


async def test_caller_is_told_that_all_servers_are_full(rtpengine: RtpEngine) -> None:
    async with (
        stage(max_sessions=0) as one,
        stage(max_sessions=0) as two,
        front(rtpengine, one, two) as kamailio,
        phone_at(kamailio) as phone,
    ):
        assert (await phone.ask(phone.caller().request("INVITE", phone.offer()))).status == 503
        assert [server.connector.uas.stats.refused for server in (one, two)] == [{503: 1}, {503: 1}]


async def test_server_hangs_up_through_the_proxy(rtpengine: RtpEngine) -> None:
    async with stage() as server, front(rtpengine, server) as kamailio, phone_at(kamailio) as phone:
        await call(phone, phone.caller(), phone.offer())
        server.connector._hang_up(next(iter(server.connector._dialogs)), "enough")
        bye = await phone.hear_request("BYE")
        assert [via.host for via in bye.vias][:1] == [LOOPBACK]


async def test_recording_of_two_streams_comes_through(rtpengine: RtpEngine) -> None:
    parties = [Participant("Carla", "sip:+15550100@example.com"), Participant("Alex", "sip:4711@agents.example")]
    async with stage() as server, front(rtpengine, server) as kamailio, phone_at(kamailio) as phone:
        sdp = offer(LOOPBACK, [phone.rtp_port, phone.rtp_port + 2], labels=["1", "2"])
        body = recording(sdp, metadata("cs", parties, ["1", "2"], "2026-11-25T12:00:00Z"), "parts")
        caller = phone.caller()
        answer, route = await call(phone, caller, body.content, content_type=body.content_type, Require="siprec")
        assert [line.label for _, line in answer.audio] == ["1", "2"]
        assert all(MEDIA_PORTS[0] <= line.port <= MEDIA_PORTS[1] for _, line in answer.audio)
        assert (await phone.ask(routed(caller.request("BYE"), route))).status == 200
        (end,) = await server.ended()
        assert [leg.speaker_role for leg in end.legs] == [SpeakerRole.CUSTOMER, SpeakerRole.AGENT]
