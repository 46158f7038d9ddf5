"""WHIP over HTTP, with peers that only pretend: statuses, headers, sessions and their calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from connectors.calls import LegHandle
from connectors.rtp.quality import RtpStats
from connectors.webrtc import sessions as whip_sessions
from connectors.webrtc.config import IceServer, WebRtcConfig, WebRtcLimits
from connectors.webrtc.http import WhipServer
from connectors.webrtc.sessions import WhipSessions
from connectors.webrtc.whip import IceFragment, Offer, WhipRefused
from pipeline.call import CallInfo
from tests.connectors.fakes import FakeCall, FakeCalls
from tests.connectors.webrtc.offers import HOST, audio_line, fragment, offer

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


class FakePeer:
    """Answers every offer with itself."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self.arrived = 0.0
        self.offer: Offer | None = None
        self.legs: list[LegHandle] = []
        self.fragments: list[IceFragment] = []
        self.reports = 0
        self.closed = False
        self.fault: Exception | None = None
        self.asked, self.answering, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.answering.set()

    async def take_offer(self, offer: Offer) -> None:
        self.offer = offer
        if "refuse me" in offer.text:
            raise WhipRefused(400, "refused")

    async def answer(self, legs: Sequence[LegHandle]) -> str:
        self.asked.set()
        await self.answering.wait()
        if self.fault is not None:
            raise self.fault
        assert self.offer is not None
        self.legs = list(legs)
        return self.offer.text

    async def add_candidates(self, fragment: IceFragment) -> None:
        self.fragments.append(fragment)

    def report(self) -> None:
        self.reports += 1

    def finish(self) -> Sequence[RtpStats]:
        return [RtpStats(received=100, lost=2, late=1, duplicate=3) for _ in self.legs]

    async def close(self) -> None:
        self.closed = True
        self.gone.set()


@dataclass
class Whip:
    client: TestClient[Any, Any]
    sessions: WhipSessions
    calls: FakeCalls
    peers: list[FakePeer] = field(default_factory=list)

    async def post(self, query: str = "", *lines: list[str], **headers: str) -> ClientResponse:
        return await self.client.post(f"/whip{query}", data=offer(*(lines or (audio_line(),))), headers=SDP | headers)

    async def patch(self, location: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.patch(location, data=text, headers=FRAGMENT | headers)

    async def delete(self, location: str) -> None:
        """Ends a session and waits for its last words."""
        assert (await self.client.delete(location)).status == 200
        await asyncio.gather(*self.sessions._endings)

    def call(self, call_id: str) -> FakeCall:
        return next(call for call in self.calls.history if call.info.call_id == call_id)


Serve = Callable[..., Awaitable[Whip]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`serve(config)`: an endpoint with fake peers and calls, until the test ends."""
    monkeypatch.setattr(whip_sessions, "CHECK_S", 0.01)
    running: list[Whip] = []

    async def start(config: WebRtcConfig | None = None, peer: Callable[[], FakePeer] = FakePeer) -> Whip:
        calls, config = FakeCalls(), config or WebRtcConfig()
        peers: list[FakePeer] = []

        def make_peer() -> FakePeer:
            peers.append(peer())
            return peers[-1]

        sessions = WhipSessions(calls, config, make_peer)
        app = web.Application()
        app.add_routes(WhipServer(sessions, config).routes())
        client: TestClient[Any, Any] = TestClient(TestServer(app))
        await client.start_server()
        running.append(Whip(client, sessions, calls, peers))
        return running[-1]

    yield start
    for whip in running:
        await whip.sessions.close()
        await whip.client.close()
        assert whip.calls.sessions == 0
        assert whip.sessions.stats.active == whip.sessions.stats.pending == 0
        assert all(peer.closed for peer in whip.peers)


async def test_an_offer_becomes_a_session_with_address_tag_and_answer(serve: Serve) -> None:
    whip = await serve()
    answer = await whip.post("?call_id=C1&from=%2B1555&queue=billing")
    assert answer.status == 201
    assert answer.content_type == "application/sdp"
    assert answer.headers["Location"].startswith("/whip/")
    assert len(answer.headers["Location"]) > 30
    assert answer.headers["ETag"].strip('"')
    assert "a=rtcp-mux-only" in await answer.text()
    call = whip.call("C1")
    assert (call.info.connector, call.info.from_, call.metadata) == ("webrtc", "+1555", {"queue": "billing"})
    assert [(leg.options.leg, leg.options.role) for leg in call.legs.values()] == [("agent", "agent")]


async def test_delete_ends_the_call_with_its_last_words(serve: Serve) -> None:
    whip = await serve()
    whip.calls.flush_s = 0.05
    location = (await whip.post("?call_id=C1")).headers["Location"]
    assert (await whip.client.delete(location, headers={"If-Match": '"another"'})).status == 200
    assert whip.call("C1").log == ["START"]
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").log == ["START", "final agent", "END"]
    assert whip.call("C1").reason == "completed"
    stats = whip.sessions.stats
    assert (stats.packets, stats.lost, stats.late, stats.duplicates) == (100, 2, 1, 3)
    assert stats.ended == {"completed": 1}
    for method in ("DELETE", "PATCH", "GET"):
        answer = await whip.client.request(method, location, headers=FRAGMENT, data=fragment())
        assert answer.status == 404


async def test_each_track_is_a_leg_of_its_own(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&role=customer,agent", audio_line(), audio_line(1), audio_line(2))
    legs = whip.call("C1").legs
    assert {name: str(leg.options.role) for name, leg in legs.items()} == {
        "customer": "customer",
        "agent": "agent",
        "agent-2": "agent",
    }
    assert [leg.options.channel_index for leg in legs.values()] == [0, 1, 2]


async def test_sessions_of_one_call_share_it_until_the_last_leaves(serve: Serve) -> None:
    whip = await serve()
    first = (await whip.post("?call_id=C1")).headers["Location"]
    second = (await whip.post("?call_id=C1&role=customer&queue=a")).headers["Location"]
    call = whip.call("C1")
    assert list(call.legs) == ["agent", "customer"]
    assert call.metadata == {"queue": "a"}
    await whip.delete(first)
    assert call.log == ["START", "final agent"]
    third = (await whip.post("?call_id=C1")).headers["Location"]
    assert not call.legs["agent"].closed
    await whip.delete(second)
    await whip.delete(third)
    assert call.log == ["START", "final agent", "final customer", "final agent", "END"]
    assert (await whip.post("?call_id=C1")).status == 201
    assert len(whip.calls.history) == 2


async def test_a_leg_that_is_there_already_is_a_conflict(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&leg=mic")
    assert (await whip.post("?call_id=C1&leg=mic")).status == 409
    assert not whip.call("C1").ended
    assert whip.sessions.stats.refused == 1


async def test_a_call_of_another_connector_is_a_conflict(serve: Serve) -> None:
    whip = await serve()
    other = whip.calls.start(CallInfo("C1", "sip"))
    assert (await whip.post("?call_id=C1")).status == 409
    await other.end("done")


async def test_while_a_call_has_its_last_words_nobody_joins_it(serve: Serve) -> None:
    whip = await serve()
    whip.calls.flush_s = 0.1
    location = (await whip.post("?call_id=C1")).headers["Location"]
    await whip.client.delete(location)
    answer = await whip.post("?call_id=C1")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    await asyncio.gather(*whip.sessions._endings)
    assert (await whip.post("?call_id=C1")).status == 201


async def test_an_unknown_language_becomes_the_default(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&language=xx-XX")
    assert whip.call("C1").legs["agent"].options.language is None
    assert whip.sessions.stats.unknown_languages == 1


@pytest.mark.parametrize("full", ["sessions", "engine", "draining"])
async def test_without_room_the_peer_is_told_when_to_come_again(serve: Serve, full: str) -> None:
    whip = await serve(WebRtcConfig(limits=WebRtcLimits(max_sessions=1, retry_after_s=7)))
    if full == "sessions":
        await whip.post()
    elif full == "engine":
        whip.calls.max_sessions = 0
    else:
        whip.calls.draining = True
    answer = await whip.post()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert whip.sessions.stats.crowded + whip.sessions.stats.turned_away == 1


async def test_a_session_that_only_partly_fits_is_refused_whole(serve: Serve) -> None:
    whip = await serve()
    whip.calls.max_sessions = 1
    assert (await whip.post("?call_id=C1", audio_line(), audio_line(1))).status == 503
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").log == ["final agent"]


async def test_an_offer_that_the_peer_refuses_starts_no_call(serve: Serve) -> None:
    whip = await serve()
    assert (await whip.post("", [*audio_line(), "a=x-note:refuse me"])).status == 400
    assert whip.calls.history == []


async def test_a_fault_in_the_answer_ends_the_call(serve: Serve) -> None:
    class Broken(FakePeer):
        def __init__(self) -> None:
            super().__init__()
            self.fault = OSError("no port")

    whip = await serve(peer=Broken)
    assert (await whip.post("?call_id=C1")).status == 500
    assert whip.call("C1").reason == "failed"


async def test_shutdown_during_the_answer_leaves_nothing(serve: Serve) -> None:
    peer = FakePeer()
    peer.answering.clear()
    whip = await serve(peer=lambda: peer)
    posting = asyncio.create_task(whip.post("?call_id=C1"))
    await peer.asked.wait()
    await whip.sessions.close()
    peer.answering.set()
    assert (await posting).status == 503
    assert whip.call("C1").reason == "shutdown"
    assert (await whip.post()).status == 503


async def test_candidates_reach_the_peer(serve: Serve) -> None:
    whip = await serve()
    answer = await whip.post()
    location, etag = answer.headers["Location"], answer.headers["ETag"]
    patched = await whip.patch(location, fragment(HOST, "a=end-of-candidates"), **{"If-Match": etag})
    assert (patched.status, await patched.read(), patched.headers.get("ETag")) == (204, b"", None)
    (taken,) = whip.peers[0].fragments
    assert taken.complete
    assert len(taken.candidates) == 1


@pytest.mark.parametrize(
    ("text", "headers", "status"),
    [
        (fragment(HOST), {}, 428),
        (fragment(HOST), {"If-Match": '"another"'}, 412),
        (fragment(HOST, ufrag="Else"), {"If-Match": "*"}, 422),
        ("a=candidate", {"If-Match": "*"}, 400),
        (fragment(HOST), {"If-Match": "*", "Content-Type": "application/sdp"}, 415),
        (fragment("a=x:" + "x" * 70_000), {"If-Match": "*"}, 413),
        (fragment(HOST), {"If-Match": "*"}, 204),
    ],
    ids=["no tag", "other tag", "restart", "malformed", "type", "long", "any tag"],
)
async def test_a_patch_is_answered_as_the_rfc_says(
    serve: Serve, text: str, headers: dict[str, str], status: int
) -> None:
    whip = await serve()
    location = (await whip.post()).headers["Location"]
    assert (await whip.patch(location, text, **headers)).status == status
    assert len(whip.peers[0].fragments) == (status == 204)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("no sdp", {}, 400),
        (b"v=0\r\n\xff\xfe", {}, 400),
        (offer(audio_line()), {"Content-Type": "text/plain"}, 415),
        (offer(audio_line()), {"Accept": "text/html"}, 406),
        (offer(audio_line(), audio_line(1, kind="video")), {}, 422),
        (b"v=0\r\n" + b"a=x\r\n" * 20_000, {}, 413),
    ],
    ids=["malformed", "bytes", "type", "accept", "video", "long"],
)
async def test_an_offer_is_refused_as_the_rfc_says(
    serve: Serve, body: str | bytes, headers: dict[str, str], status: int
) -> None:
    whip = await serve()
    answer = await whip.client.post("/whip", data=body, headers=SDP | headers)
    assert answer.status == status
    assert (await answer.text()).count("\n") == 1
    assert answer.headers.get("Accept-Post") == ("application/sdp" if status == 415 else None)
    assert whip.calls.history == []


async def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(limits=WebRtcLimits(body_timeout_s=0.05)))

    async def body() -> AsyncIterator[bytes]:
        yield b"v=0\r\n"
        await asyncio.sleep(1)

    assert (await whip.client.post("/whip", data=body(), headers=SDP)).status == 408


@pytest.mark.parametrize(("method", "path"), [("PUT", "/whip"), ("DELETE", "/whip"), ("POST", "/whip/x")])
async def test_other_methods_are_not_allowed(serve: Serve, method: str, path: str) -> None:
    whip = await serve()
    assert (await whip.client.request(method, path)).status == 405


async def test_a_slash_at_the_end_is_the_same_address(serve: Serve) -> None:
    whip = await serve()
    answer = await whip.client.post("/whip/?call_id=C1", data=offer(audio_line()), headers=SDP)
    location = answer.headers["Location"]
    assert (answer.status, location.count("/")) == (201, 2)
    headers = {"If-Match": answer.headers["ETag"]}
    assert (await whip.patch(f"{location}/", fragment(HOST), **headers)).status == 204
    assert (await whip.client.options("/whip/")).headers["Accept-Post"] == "application/sdp"
    assert (await whip.client.delete(f"{location}/")).status == 200


@pytest.mark.parametrize("kind", ["application/sdp; charset=utf-8", "Application/SDP", "application/sdp;"])
async def test_parameters_of_the_media_type_do_not_matter(serve: Serve, kind: str) -> None:
    whip = await serve()
    body = ("\ufeff" + offer(audio_line())).encode()
    assert (await whip.client.post("/whip", data=body, headers={"Content-Type": kind})).status == 201


async def test_lines_that_a_peer_does_not_use_stand_in_the_answer_unused(serve: Serve) -> None:
    whip = await serve()
    unused = ["m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:9", "a=inactive"]
    text = await (await whip.post("", unused, audio_line(1))).text()
    media = [line for line in text.splitlines() if line.startswith("m=")]
    assert media == ["m=video 0 UDP/TLS/RTP/SAVPF 96", "m=audio 9 UDP/TLS/RTP/SAVPF 111"]
    assert "a=group:BUNDLE 1\r\n" in text


@pytest.mark.parametrize(("text", "status"), [("", 400), ("\r\n", 400), ("a=end-of-candidates\r\n", 400)])
async def test_a_patch_that_says_nothing_is_refused_with_a_reason(serve: Serve, text: str, status: int) -> None:
    whip = await serve()
    answer = await whip.post()
    patched = await whip.patch(answer.headers["Location"], text, **{"If-Match": answer.headers["ETag"]})
    assert patched.status == status
    assert "ice-ufrag" in await patched.text()


async def test_get_has_nothing_to_show(serve: Serve) -> None:
    whip = await serve()
    location = (await whip.post()).headers["Location"]
    for path in ("/whip", location):
        answer = await whip.client.get(path)
        assert (answer.status, await answer.read()) == (204, b"")


async def test_everything_but_options_needs_the_token(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(token="s3cret"))
    bearer = {"Authorization": "Bearer s3cret"}
    location = (await whip.post(**bearer)).headers["Location"]
    requests = [("POST", "/whip"), ("GET", "/whip"), ("PATCH", location), ("DELETE", location), ("GET", location)]
    for method, path in requests:
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}):
            answer = await whip.client.request(method, path, headers=SDP | wrong)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert whip.sessions.stats.unsigned == 15
    assert (await whip.client.options("/whip")).status == 200
    assert (await whip.client.delete(location, headers=bearer)).status == 200


async def test_options_says_what_is_accepted(serve: Serve) -> None:
    whip = await serve()
    endpoint, session = await whip.client.options("/whip"), await whip.client.options("/whip/x")
    assert (endpoint.status, endpoint.headers["Accept-Post"]) == (200, "application/sdp")
    assert (session.status, session.headers["Accept-Patch"]) == (200, "application/trickle-ice-sdpfrag")


async def test_pages_of_allowed_sites_may_use_it_and_no_others(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(origins=("https://desk.example.com",)))
    allowed = await whip.client.options("/whip", headers={"Origin": "https://desk.example.com"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://desk.example.com"
    assert allowed.headers["Access-Control-Allow-Methods"] == "POST"
    assert "If-Match" in allowed.headers["Access-Control-Allow-Headers"]
    answer = await whip.post(Origin="https://desk.example.com")
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    foreign = await whip.client.options("/whip", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in foreign.headers if name.startswith("Access-Control")]


async def test_ice_servers_are_told_in_links(serve: Serve) -> None:
    servers = (
        IceServer(url="stun:stun.example.net"),
        IceServer(url="turn:turn.example.net?transport=udp", username="u", credential='p"w'),
    )
    whip = await serve(WebRtcConfig(ice_servers=servers))
    assert (await whip.post()).headers.getall("Link") == [
        '<stun:stun.example.net>; rel="ice-server"',
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; credential="p\\"w"',
    ]


async def test_a_peer_that_is_lost_ends_its_call(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1")
    whip.peers[0].lost = "disconnected"
    await asyncio.wait_for(whip.call("C1").over.wait(), 2)
    assert whip.call("C1").reason == "disconnected"
    assert whip.peers[0].reports > 0


@pytest.mark.parametrize(("arrived", "reason"), [(0.0, "no audio"), (1e-9, "audio stopped")])
async def test_a_peer_that_says_nothing_is_not_waited_for(serve: Serve, arrived: float, reason: str) -> None:
    whip = await serve(WebRtcConfig(limits=WebRtcLimits(setup_timeout_s=0.05, idle_timeout_s=0.05)))
    await whip.post("?call_id=C1")
    whip.peers[0].arrived = arrived
    await asyncio.wait_for(whip.call("C1").over.wait(), 2)
    assert whip.call("C1").reason == reason


async def test_a_call_that_others_end_ends_the_session(serve: Serve) -> None:
    whip = await serve()
    location = (await whip.post("?call_id=C1")).headers["Location"]
    await whip.call("C1").end("longest duration reached")
    await asyncio.wait_for(whip.peers[0].gone.wait(), 2)
    assert (await whip.client.get(location)).status == 404
    assert whip.sessions.stats.ended == {"ended": 1}


async def test_shutdown_ends_all_sessions_with_their_last_words(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1")
    await whip.post("?call_id=C2")
    await whip.sessions.close()
    assert [call.log[-1] for call in whip.calls.history] == ["END", "END"]
    assert {call.reason for call in whip.calls.history} == {"shutdown"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://rebound.example:80"])
async def test_page_of_another_site_starts_no_session_where_there_is_no_token(serve: Serve, origin: str) -> None:
    whip = await serve()
    headers = {"Host": "rebound.example:80"} if "rebound" in origin else {}
    assert (await whip.post(Origin=origin, **headers)).status == 403
    location = (await whip.post()).headers["Location"]
    assert (await whip.client.delete(location, headers={"Origin": origin} | headers)).status == 403
    assert (await whip.patch(location, fragment(), Origin=origin, **headers)).status == 403
    assert whip.sessions.stats.foreign_origins == 3
    await whip.delete(location)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://calls.example.com", "Host": "calls.example.com"},
        {"Origin": "https://calls.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://calls.example.com", "X-Forwarded-Host": "calls.example.com"},
        {"Origin": "http://127.0.0.1:8080", "Host": "127.0.0.1:8080"},
    ],
)
async def test_pages_of_the_server_itself_need_no_entry(serve: Serve, headers: dict[str, str]) -> None:
    whip = await serve()
    answer = await whip.post(**headers)
    assert answer.status == 201
    await whip.delete(answer.headers["Location"])


async def test_whoever_has_the_token_may_be_of_any_site(serve: Serve) -> None:
    whip = await serve(WebRtcConfig(token="secret"))
    answer = await whip.post(Origin="https://elsewhere.example", Authorization="Bearer secret")
    assert answer.status == 201
    assert "Access-Control-Allow-Origin" not in answer.headers
    headers = {"Authorization": "Bearer secret"}
    assert (await whip.client.delete(answer.headers["Location"], headers=headers)).status == 200


async def raw(whip: Whip, head: bytes, body: bytes = b"") -> bytes:
    """The status line for what no client library sends."""
    reader, writer = await asyncio.open_connection(whip.client.host, whip.client.port)
    writer.write(b"POST /whip HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n" + body)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    return line


@pytest.mark.parametrize("credential", [b"Bearer \xff", "Bearer ü".encode(), b"\xff\xff", b"Bearer", b"Basic secret"])
async def test_bytes_that_are_no_token_get_401_and_no_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture, credential: bytes
) -> None:
    whip = await serve(WebRtcConfig(token="secret"))
    assert b" 401 " in await raw(whip, b"Authorization: " + credential + b"\r\n")
    assert whip.sessions.stats.unsigned == 1
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"hello"),
        (b"Content-Encoding: deflate\r\nContent-Length: 5\r\n", b"\xff\xff\xff\xff\xff"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\nZZ\r\n"),
    ],
)
async def test_body_that_is_not_coded_as_its_headers_say_gets_400(serve: Serve, head: bytes, body: bytes) -> None:
    whip = await serve()
    assert b" 400 " in await raw(whip, b"Content-Type: application/sdp\r\n" + head, body)


# The engine's word ---------------------------------------------------------------------------------------------------


async def test_a_session_is_answered_once_the_engine_takes_its_legs(serve: Serve) -> None:
    whip = await serve()
    whip.calls.answered.clear()
    asked = asyncio.create_task(whip.post("?call_id=C1", audio_line(), audio_line(1)))
    async with asyncio.timeout(5):
        while not whip.calls.history or len(whip.calls.history[0].legs) < 2:  # noqa: ASYNC110 - a fake has no event
            await asyncio.sleep(0.005)
    assert not whip.peers[0].asked.is_set()
    assert whip.call("C1").log == []
    whip.calls.answered.set()
    assert (await asked).status == 201
    assert whip.call("C1").log == ["START"]


@pytest.mark.parametrize("refused", [{"agent"}, {"agent-2"}])
async def test_a_session_of_which_the_engine_refuses_a_leg_is_refused_whole(serve: Serve, refused: set[str]) -> None:
    whip = await serve()
    whip.calls.refused = refused
    answer = await whip.post("?call_id=C1", audio_line(), audio_line(1))
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    await asyncio.gather(*whip.sessions._endings)
    assert whip.call("C1").ended
    assert "START" not in whip.call("C1").log
    assert whip.sessions.stats.turned_away == 1
    whip.calls.refused = set()
    assert (await whip.post("?call_id=C1")).status == 201


async def test_a_session_that_joins_and_is_refused_by_the_engine_leaves_the_call_to_the_first(serve: Serve) -> None:
    whip = await serve()
    await whip.post("?call_id=C1&role=agent")
    whip.calls.refused = {"customer"}
    assert (await whip.post("?call_id=C1&role=customer")).status == 503
    assert not whip.call("C1").ended
