"""Offers and answers of calls on loopback: how they are carried, when they come late, and which are refused."""

import pytest

from connectors.sdp.description import parse
from tests.connectors.sip.stage import END, HOLD, START, changed, hang_up, phone_at, stage
from tests.pipeline.scripted import script, words

UNANSWERED = {
    "nothing": (b"", "application/sdp"),
    "no description": (b"v=1\r\n", "application/sdp"),
    "another type": (b"hello", "text/plain"),
    "no parts": (b"hello", "multipart/mixed;boundary=b"),
}


@pytest.mark.parametrize("answer", UNANSWERED)
async def test_reinvite_without_a_body_whose_ack_has_no_answer_leaves_the_call_as_it_was(answer: str) -> None:
    body, kind = UNANSWERED[answer]
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        for _ in range(2):
            invite = caller.request("INVITE")
            ok = await phone.ask(invite)
            assert (ok.status, parse(ok.body).audio[0][1].port) == (200, port)
            ack = caller.ack(invite, body)
            ack.headers.set("Content-Type", kind)
            phone.put(ack)
        await phone.talk(port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)
        assert server.actions() == [START]
        assert server.connector.stats.requests.unanswered_offers == 2
        await phone.call(caller, phone.offer("inactive"))
        assert server.actions() == [START, HOLD]
        await hang_up(phone, caller)
        (end,) = await server.ended()
        assert end.reason == "completed"


MULTIPARTS = {
    "related": "multipart/related;boundary=b",
    "related with a root": 'multipart/related; type="application/sdp"; start="<root@h>"; boundary="b";',
    "alternative": "multipart/alternative;boundary=b",
    "unknown": "Multipart/Vnd.Example ; boundary=b ;",
    "mixed": "multipart/mixed;;boundary=b",
}


@pytest.mark.parametrize("kind", MULTIPARTS)
async def test_description_in_any_multipart_begins_the_call(kind: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        parts = [b"Content-Type: text/plain\r\n\r\nhello", b"c: application/sdp;\r\nContent-ID: <root@h>\r\n\r\n"]
        parts[1] += phone.offer()
        body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
        caller = phone.caller()
        answer = await phone.call(caller, body, content_type=MULTIPARTS[kind])
        await phone.talk(answer.audio[0][1].port, 0.3)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)


@pytest.mark.parametrize(
    "kind",
    [
        "application/sdp;",
        "application/sdp ; ;",
        "Application / SDP",
        "application/sdp,",
        "application/sdp;charset",
        "application/sdp charset=utf-8",
        'APPLICATION/SDP;x="y";',
        "",
    ],
)
async def test_type_of_a_description_with_one_plain_meaning_is_taken(kind: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        answer = await phone.call(caller, content_type=kind)
        assert len(answer.audio) == 1
        await hang_up(phone, caller)
        assert server.actions()[0] is START


async def test_late_offer_is_ours_and_the_answer_comes_with_the_ack() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        invite = caller.request("INVITE")
        ok = await phone.ask(invite)
        caller.learn(ok)
        offer = parse(ok.body)
        assert {codec.name for codec in offer.audio[0][1].codecs} >= {"PCMU", "PCMA", "G722", "TELEPHONE-EVENT"}
        phone.put(caller.ack(invite, phone.offer(codecs="0")))
        await phone.talk(offer.audio[0][1].port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)
        await hang_up(phone, caller)
        await server.ended()


async def test_late_answer_without_a_common_codec_ends_the_call() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        invite = caller.request("INVITE")
        caller.learn(await phone.ask(invite))
        phone.put(caller.ack(invite, phone.offer(codecs="18")))
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "no common codec"


async def test_no_common_codec_is_refused_with_a_warning_and_no_call_began() -> None:
    async with stage() as server, phone_at(server) as phone:
        answer = await phone.ask(phone.caller().request("INVITE", phone.offer(codecs="18")))
        assert answer.status == 488
        assert (answer.headers.get("Warning") or "").startswith("305 ")
        assert server.records == []


async def test_refused_reinvite_leaves_the_media_running() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        assert (await phone.ask(caller.request("INVITE", phone.offer(codecs="18")))).status == 488
        await phone.talk(port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)


@pytest.mark.parametrize("body", [b"v=1\r\n", b"\x00\xff", b"m=audio x RTP/AVP 0\r\n"])
async def test_body_that_is_no_description_is_refused(body: bytes) -> None:
    async with stage() as server, phone_at(server) as phone:
        assert (await phone.ask(phone.caller().request("INVITE", body))).status == 400
        assert server.records == []


@pytest.mark.parametrize("audio", [b"", b"m=audio 0 RTP/AVP 0\r\n"])
async def test_call_goes_on_as_it_was_when_a_fax_is_refused(audio: bytes) -> None:
    said = script(words("still here"))
    async with stage(changed(), said) as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        head = phone.offer().partition(b"m=audio")[0]
        fax = caller.request("INVITE", head + audio + f"m=image {phone.rtp_port} udptl t38\r\n".encode())
        assert (await phone.ask(fax)).status == 488
        phone.put(caller.ack(fax))
        await phone.talk(port, seconds=1.6)
        await hang_up(phone, caller)
        await server.ended()
        assert server.actions() == [START, END]
        assert [one.transcript for one in server.finals()] == ["still here"]
