"""WHIP over HTTP, with peers that only pretend: statuses, headers, and bodies of any kind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from connectors.webrtc.config import IceServer, WebRtcConfig, WebRtcLimits
from tests.connectors.webrtc.offers import HOST, audio_line, fragment, offer
from tests.connectors.webrtc.whip import SDP, Serve, raw


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


async def test_options_says_what_is_accepted(serve: Serve) -> None:
    whip = await serve()
    endpoint, session = await whip.client.options("/whip"), await whip.client.options("/whip/x")
    assert (endpoint.status, endpoint.headers["Accept-Post"]) == (200, "application/sdp")
    assert (session.status, session.headers["Accept-Patch"]) == (200, "application/trickle-ice-sdpfrag")


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
