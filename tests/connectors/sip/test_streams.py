"""SIP over TCP and TLS: real connections, whole and in pieces."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.sip import PeerLimits, SipUnavailable
from connectors.sip.message.message import SipResponse, encode
from connectors.sip.message.parser import StreamParser
from connectors.sip.transaction import Flow
from pipeline.calls import Calls
from sinks.record import CallAction
from tests.connectors.sip.peers import Caller
from tests.connectors.sip.stage import LOOPBACK, changed, stage

START = CallAction.START


class StreamPhone:
    """SIP over a stream; RTP is the business of others."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.flow = Flow("TLS" if writer.get_extra_info("ssl_object") else "TCP", ("", 0), ("", 0))
        self.reader, self.writer = reader, writer
        self.parser = StreamParser()
        self.waiting: list[object] = []

    async def ask(self, data: bytes) -> SipResponse:
        self.writer.write(data)
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(4096), 10)
            assert data
            self.waiting += self.parser.feed(data)
        answer = self.waiting.pop(0)
        assert isinstance(answer, SipResponse)
        return answer


@asynccontextmanager
async def stream_to(address: tuple[str, int], context: ssl.SSLContext | None = None) -> AsyncIterator[StreamPhone]:
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    yield StreamPhone(reader, writer)
    writer.close()
    await writer.wait_closed()


OFFER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


async def call_over(phone: StreamPhone) -> Caller:
    caller = Caller(phone)
    invite = caller.request("INVITE", OFFER)
    ok = await phone.ask(encode(invite))
    assert ok.status == 200
    assert f"transport={phone.flow.transport.lower()}" in (ok.headers.get("Contact") or "")
    caller.learn(ok)
    phone.writer.write(encode(caller.ack(invite)))
    return caller


async def test_call_over_tcp_in_pieces_and_with_keepalives() -> None:
    async with stage(changed(udp=None, tcp=f"{LOOPBACK}:0")) as server:
        async with stream_to(server.connector.addresses["TCP"]) as phone:
            caller = await call_over(phone)
            phone.writer.write(b"\r\n\r\n")
            assert await asyncio.wait_for(phone.reader.readexactly(2), 5) == b"\r\n"
            bye = encode(caller.request("BYE"))
            phone.writer.write(bye[:50])
            await asyncio.sleep(0.05)
            assert (await phone.ask(bye[50:])).status == 200
        (end,) = await server.ended()
        assert end.reason == "completed"


async def test_two_messages_in_one_segment_are_both_answered() -> None:
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server, stream_to(server.connector.addresses["TCP"]) as phone:
        caller = Caller(phone)
        pair = encode(caller.request("OPTIONS")) + encode(caller.request("OPTIONS"))
        first, second = await phone.ask(pair), await phone.ask(b"")
        assert (first.cseq.number, second.cseq.number) == (1, 2)


@pytest.mark.parametrize("filler", [b"\0", b"\0\0\r\n\0", b" \t", b"\xef\xbb\xbf", b"\r\n"])
async def test_octets_between_messages_of_a_trunk_leave_its_calls_alone(filler: bytes) -> None:
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server, stream_to(server.connector.addresses["TCP"]) as phone:
        one, other = await call_over(phone), await call_over(phone)
        phone.writer.write(filler)
        assert (await phone.ask(filler + encode(one.request("BYE")) + filler)).status == 200
        assert (await phone.ask(encode(other.request("OPTIONS")))).status == 200
        assert server.connector.stats.calls == 1
        assert server.connector.stats.transport.malformed == 0


async def test_malformed_message_on_a_trunk_leaves_its_calls_alone() -> None:
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server, stream_to(server.connector.addresses["TCP"]) as phone:
        caller = await call_over(phone)
        wrong = encode(Caller(phone).request("OPTIONS", Require="a b"))
        assert (await phone.ask(wrong)).status == 400
        assert (await phone.ask(encode(caller.request("OPTIONS", Supported=",outbound")))).status == 200
        assert server.connector.stats.calls == 1


async def test_stream_that_is_no_sip_is_closed() -> None:
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server, stream_to(server.connector.addresses["TCP"]) as phone:
        phone.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(phone.reader.read(), 5) == b""


async def test_connections_of_a_peer_are_bounded_and_quiet_ones_closed() -> None:
    limits = PeerLimits(max_connections_per_peer=2, idle_connection_s=0.3)
    async with stage(changed(tcp=f"{LOOPBACK}:0", limits=limits)) as server:
        address = server.connector.addresses["TCP"]
        async with stream_to(address) as one, stream_to(address) as two, stream_to(address) as three:
            assert await asyncio.wait_for(three.reader.read(), 5) == b""
            assert server.connector.stats.transport.crowded == 1
            caller = await call_over(one)
            assert await asyncio.wait_for(two.reader.read(), 5) == b""
            assert (await one.ask(encode(caller.request("BYE")))).status == 200


async def test_bye_reaches_a_peer_whose_connection_broke() -> None:
    """A connection is made to the peer's Contact."""
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server:
        came: asyncio.Queue[bytes] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.put_nowait(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        listener = await asyncio.start_server(accept, LOOPBACK, 0)
        host, port = listener.sockets[0].getsockname()
        async with stream_to(server.connector.addresses["TCP"]) as phone:
            caller = Caller(phone, contact=f"<sip:caller@{host}:{port};transport=tcp>", via=host)
            invite = caller.request("INVITE", OFFER)
            caller.learn(await phone.ask(encode(invite)))
            phone.writer.write(encode(caller.ack(invite)))
            await server.until(lambda: server.actions() == [START])
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        await asyncio.gather(server.connector.close(), asyncio.wait_for(came.get(), 5))
        listener.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def test_call_over_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    config = changed(udp=None, tls=f"{LOOPBACK}:0", tls_cert=str(cert), tls_key=str(key))
    async with stage(config) as server:
        context = ssl.create_default_context(cafile=str(cert))
        async with stream_to(server.connector.addresses["TLS"], context) as phone:
            caller = await call_over(phone)
            assert (await phone.ask(encode(caller.request("BYE")))).status == 200
        (end,) = await server.ended()
        assert end.reason == "completed"


async def test_certificate_that_cannot_be_read_is_named() -> None:
    calls = Calls.__new__(Calls)
    config = changed(udp=None, tls=f"{LOOPBACK}:0", tls_cert="/nowhere.pem", tls_key="/nowhere.pem")
    from connectors.sip import SipConnector  # noqa: PLC0415 - only here by name

    with pytest.raises(SipUnavailable, match="tls = "):
        await SipConnector(calls, config).start()
