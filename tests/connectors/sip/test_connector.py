"""The whole connector on loopback: SIP and RTP sockets, the real pipeline, a scripted recogniser."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from connectors.rtp.config import RtpConfig
from connectors.rtp.dtmf import EventPayload
from connectors.rtp.packet import RtpPacket
from connectors.sdp.description import parse
from connectors.sip import Credential, SipConfig, SipUnavailable
from connectors.sip.digest import DigestClient
from connectors.sip.transaction import TimerValues
from pipeline.config import PipelineConfig
from sinks.record import CallAction, SpeakerRole
from tests.connectors.sip.peers import Caller
from tests.connectors.sip.stage import CONFIG, LOOPBACK, Phone, Stage, changed, stage
from tests.garbage import collected
from tests.pipeline.scripted import script, words

START, HOLD, RESUME, END = (
    CallAction.START,
    CallAction.HOLD,
    CallAction.RESUME,
    CallAction.END,
)
QUICK = TimerValues(t1=0.02, t2=0.08, t4=0.1)


@asynccontextmanager
async def phone_at(server: Stage) -> AsyncIterator[Phone]:
    phone = await Phone.open(server.address)
    try:
        yield phone
    finally:
        phone.close()


async def hang_up(phone: Phone, caller: Caller) -> None:
    assert (await phone.ask(caller.request("BYE"))).status == 200


async def test_call_is_transcribed_and_its_last_word_comes_before_its_end() -> None:
    said = script(words("the last word is kept"))
    config = changed(metadata_headers=("User-to-User", "X-*"))
    async with stage(config, said) as server, phone_at(server) as phone:
        caller = phone.caller()
        answer = await phone.call(
            caller,
            From=f"<sip:+15550100@example.com>;tag={caller.tag}",
            To="<sip:+15550199@example.com>",
            User_to_User="00abcd;encoding=hex",
            X_Queue="billing",
            Subject="not wanted",
        )
        (_, line), *_ = answer.audio
        await phone.talk(line.port, seconds=1.6)
        bye = caller.request("BYE", From=f"<sip:+15550100@example.com>;tag={caller.tag}")
        assert (await phone.ask(bye)).status == 200
        (end,) = await server.ended()
        assert server.actions() == [START, END]
        assert (end.reason, end.connector, end.from_, end.to) == ("completed", "sip", "+15550100", "+15550199")
        assert end.metadata == {
            "Call-ID": caller.call_id,
            "User-to-User": "00abcd;encoding=hex",
            "X-Queue": "billing",
        }
        assert end.call_id == caller.call_id
        assert end.statistics is not None
        assert (end.statistics.packets, end.statistics.lost) == (80, 0)
        assert [(leg.leg, leg.speaker_role) for leg in end.legs] == [("caller", SpeakerRole.CUSTOMER)]
        assert " ".join(one.transcript for one in server.finals()).split() == ["the", "last", "word", "is", "kept"]
        assert server.records[-1] is end


async def test_calls_that_are_over_leave_no_circles() -> None:
    async with stage(CONFIG, script(words("one")), script(words("two")), timers=QUICK) as server:
        for number in range(2):
            with collected() as garbage:
                async with phone_at(server) as phone:
                    caller = phone.caller()
                    await phone.talk((await phone.call(caller)).audio[0][1].port, seconds=0.5)
                    await hang_up(phone, caller)
                await server.ended(number + 1)
                await asyncio.sleep(0.3)
        assert garbage == {}


async def test_role_of_the_caller_is_configurable() -> None:
    async with stage(changed(role="agent")) as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        await hang_up(phone, caller)
        (end,) = await server.ended()
        assert end.legs[0].speaker_role is SpeakerRole.AGENT


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
async def test_hold_and_resume(how: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        offer = phone.offer(address=how) if how == "0.0.0.0" else phone.offer(how)
        held = await phone.call(caller, offer)
        assert not held.audio[0][1].direction.sends
        assert server.actions() == [START, HOLD]
        heard = server.recognizer.running[0]
        await phone.talk(port, 0.3)
        assert heard.pushed == 0
        resumed = await phone.call(caller, phone.offer())
        assert resumed.audio[0][1].port == port
        assert server.actions() == [START, HOLD, RESUME]
        await phone.talk(port, 0.5)
        await server.until(lambda: heard.pushed > 0)
        await hang_up(phone, caller)
        await server.ended()


async def test_peer_that_only_ever_sends_is_not_on_hold() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller, phone.offer("sendonly"))).audio[0][1].port
        await phone.talk(port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)
        assert HOLD not in server.actions()
        await phone.call(caller, phone.offer("inactive"))
        assert server.actions()[-1] is HOLD


SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL = "sendrecv", "sendonly", "recvonly", "inactive", "0.0.0.0"
ON_HOLD = {SENDRECV: False, RECVONLY: True, INACTIVE: True, NULL: True}
"""Whether a peer that offers this is on hold. One that offers `sendonly` is where it has listened before."""

LISTENS = {SENDRECV, RECVONLY}


@pytest.mark.parametrize("first", [SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL])
async def test_hold_is_told_over_all_changes_of_direction(first: str) -> None:
    """Three offers of one call; RFC 3264, section 8.4."""
    async with stage() as server, phone_at(server) as phone:
        for second, third in itertools.product([SENDRECV, SENDONLY, RECVONLY, INACTIVE, NULL], repeat=2):
            caller, offers = phone.caller(), (first, second, third)
            expected, was_held = [START], False
            for number, offer in enumerate(offers):
                listened = not LISTENS.isdisjoint(offers[:number])
                held = listened if offer == SENDONLY else ON_HOLD[offer]
                expected += [HOLD if held else RESUME] if held is not was_held else []
                was_held = held
                await phone.call(caller, phone.offer(address=NULL) if offer == NULL else phone.offer(offer))
            actions = [one.action for one in server.call_records() if one.call_id == caller.call_id]
            assert actions == expected, offers
            await hang_up(phone, caller)


async def test_music_of_a_peer_that_listened_and_then_only_sends_is_not_heard() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller, phone.offer("inactive"))).audio[0][1].port
        await phone.call(caller, phone.offer("sendrecv"))
        await phone.call(caller, phone.offer("sendonly"))
        assert server.actions() == [START, HOLD, RESUME, HOLD]
        await phone.talk(port, 0.3)
        assert server.recognizer.running[0].pushed == 0


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


async def test_call_on_hold_stays_on_hold_over_a_reinvite_without_offer_and_answer() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.call(caller, phone.offer("sendonly"))
        invite = caller.request("INVITE")
        await phone.ask(invite)
        phone.put(caller.ack(invite))
        await phone.talk(port, 0.3)
        assert server.recognizer.running[0].pushed == 0
        assert server.actions() == [START, HOLD]


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


@pytest.mark.parametrize(
    ("from_", "number"),
    [
        ("<sip:+15550100;npdi;rn=+15550111@h;user=phone>", "+15550100"),
        ("<sip:+15550100;isub=12;ext=7@h>", "+15550100"),
        ("<sip:1001;cpc=ordinary@h>", "1001"),
        ("<sip:+1-555-0100@h;user=phone>", "+15550100"),
        ("<sip:%2B15550100@h>", "+15550100"),
        ("<tel:+1(555)0100;phone-context=+1>", "+15550100"),
        ("<tel:7042;phone-context=example.com>", "7042"),
        ("<sip:alice;x=y@h>", "alice;x=y"),
        ("<sip:john.doe-1@h>", "john.doe-1"),
        ('"A" sip:+15550100@h', "+15550100"),
    ],
)
async def test_number_of_a_caller_has_neither_parameters_nor_separators(from_: str, number: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller, From=f"{from_};tag={caller.tag}", To=from_)
        await hang_up(phone, caller)
        start = server.call_records()[0]
        assert (start.from_, start.to) == (number, number)


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


async def test_full_engine_refuses_with_retry_after_and_gives_its_ports_back() -> None:
    config = changed(retry_after_s=9, rtp=RtpConfig(first_port=23_000, last_port=23_003))
    async with stage(config, max_sessions=1) as server, phone_at(server) as phone:
        first = phone.caller()
        await phone.call(first)
        for _ in range(3):
            answer = await phone.ask(phone.caller().request("INVITE", phone.offer()))
            assert (answer.status, answer.headers.get("Retry-After")) == (503, "9")
        await hang_up(phone, first)
        (end,) = await server.ended()
        assert {record.call_id for record in server.records} == {end.call_id} == {first.call_id}
        assert server.calls.stats.calls_refused == 3
        await phone.call(phone.caller())


async def test_line_that_a_running_call_adds_without_room_is_refused_in_the_answer() -> None:
    config = changed(rtp=RtpConfig(first_port=23_020, last_port=23_025))
    async with stage(config, max_sessions=1) as server, phone_at(server) as phone, phone_at(server) as other:
        caller = phone.caller()
        second = other.offer().split(b"t=0 0\r\n")[1]
        first = await phone.call(caller)
        for count in (1, 2, 3):  # so that no port is left behind
            answer = await phone.call(caller, phone.offer() + second)
            assert [line.port for line in answer.media] == [first.audio[0][1].port, 0]
            assert (answer.origin.version, first.origin.version) == (2, 1)
            assert server.connector.stats.refused_lines == count
        await phone.talk(first.audio[0][1].port, 0.3)
        await server.until(lambda: server.recognizer.running[0].pushed > 0)
        await phone.call(caller, phone.offer())
        server.recognizer.max_sessions = 2
        answer = await phone.call(caller, phone.offer() + second)
        assert [bool(line.port) for line in answer.media] == [True, True]
        await hang_up(phone, caller)
        (end,) = await server.ended()
        assert [(leg.leg, leg.channel_index) for leg in end.legs] == [("caller", 0), ("caller-2", 1)]


async def test_line_in_the_place_of_one_that_is_gone_is_another_leg() -> None:
    async with stage() as server, phone_at(server) as phone, phone_at(server) as other:
        caller = phone.caller()
        second = other.offer().split(b"t=0 0\r\n")[1]
        gone = phone.offer().replace(b"m=audio %d" % phone.rtp_port, b"m=audio 0")
        await phone.call(caller, phone.offer() + second)
        await phone.call(caller, gone + second + phone.offer().split(b"t=0 0\r\n")[1])
        await hang_up(phone, caller)
        (end,) = await server.ended()
        assert [leg.leg for leg in end.legs] == ["caller", "caller-2", "caller-3"]


async def test_no_port_left_is_refused_with_retry_after() -> None:
    config = changed(rtp=RtpConfig(first_port=23_010, last_port=23_011))
    async with stage(config) as server, phone_at(server) as phone:
        await phone.call(phone.caller())
        answer = await phone.ask(phone.caller().request("INVITE", phone.offer()))
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")


async def test_draining_pipeline_refuses_and_options_says_so() -> None:
    async with stage() as server, phone_at(server) as phone:
        assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 200
        await server.calls.drain(0)
        assert (await phone.ask(phone.caller().request("INVITE", phone.offer()))).status == 503
        assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 503


async def test_key_that_comes_by_rtp_and_by_info_is_one_key() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.talk(port, 0.2)
        for k in range(6):
            payload = EventPayload(event=5, end=k >= 3, volume=10, duration=160 * min(k + 1, 4)).encode()
            phone.say(port, payload, payload_type=101, timestamp=1_600)
        await server.until(server.keys)
        for body in (b"Signal=5\r\nDuration=160\r\n", b"Signal=7\r\nDuration=250\r\n"):
            info = caller.request("INFO", body, content_type="application/dtmf-relay")
            assert (await phone.ask(info)).status == 200
        await hang_up(phone, caller)
        await server.ended()
        assert server.keys() == ["5", "7"]


async def test_call_without_media_is_hung_up() -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.2))
    async with stage(config) as server, phone_at(server) as phone:
        await phone.call(phone.caller())
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "no media"


async def test_call_on_hold_needs_no_media() -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.2))
    async with stage(config) as server, phone_at(server) as phone:
        await phone.call(phone.caller(), phone.offer("inactive"))
        await asyncio.sleep(2.5)
        assert server.actions() == [START, HOLD]


async def test_reports_of_a_peer_that_sends_no_media_say_that_it_is_there() -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.5))
    async with stage(config) as server, phone_at(server) as phone:
        port = (await phone.call(phone.caller())).audio[0][1].port
        for _ in range(25):
            phone.report(port)
            await asyncio.sleep(0.1)
        assert server.actions() == [START]
        noise = asyncio.create_task(repeat(lambda: phone.noise(port)))
        await phone.hear_request("BYE")
        noise.cancel()
        (end,) = await server.ended()
        assert end.reason == "no media"


async def repeat(action: Callable[[], None]) -> None:
    while True:
        action()
        await asyncio.sleep(0.1)


async def test_what_peers_write_wrong_is_logged_once_for_each_peer(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as server, phone_at(server) as phone:
        with caplog.at_level("INFO", logger="connectors.sip.oddity_log"):
            for _ in range(2):
                request = phone.caller().request("OPTIONS", Route='"x <sip:a', Supported=",timer")
                assert (await phone.ask(request)).status == 200
            assert (await phone.ask(phone.caller().request("OPTIONS", Require="a b"))).status == 400
        assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
            "Route cannot be read and was ignored, as nothing needs it (said once, counted further)",
            "Supported breaks the grammar and was taken for what it plainly means (said once, counted further)",
            "a request was refused with 400 Malformed token in Require: mend the peer (said once, counted further)",
        ]


async def test_stun_on_the_sip_port_is_a_keep_alive() -> None:
    async with stage() as server, phone_at(server) as phone:
        phone.send(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"transaction!")
        assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 200
        transport = server.connector.stats.transport
        assert (transport.keepalives, transport.malformed, transport.received) == (1, 0, 1)


async def test_call_that_the_pipeline_ends_gets_a_bye() -> None:
    async with stage(pipeline=PipelineConfig(tick_ms=5, max_call_s=0.2)) as server, phone_at(server) as phone:
        await phone.call(phone.caller())
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "longest duration reached"


async def test_closing_server_hangs_up_and_waits_for_the_last_words() -> None:
    async with stage(changed(), script(words("bye"))) as server, phone_at(server) as phone:
        port = (await phone.call(phone.caller())).audio[0][1].port
        await phone.talk(port, 0.5)
        _, bye = await asyncio.gather(server.connector.close(), phone.hear_request("BYE"))
        assert bye.method == "BYE"
        (end,) = await server.ended()
        assert end.reason == "server shutting down"
        assert server.records[-1] is end
        assert [one.transcript for one in server.finals()] == ["bye"]


async def test_lost_ack_ends_the_call() -> None:
    async with stage(timers=QUICK) as server, phone_at(server) as phone:
        await phone.ask(phone.caller().request("INVITE", phone.offer()))
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "no ACK"


async def test_two_dialogs_of_one_call_id_are_two_calls() -> None:
    async with stage() as server, phone_at(server) as phone:
        one, two = phone.caller(), phone.caller()
        two.call_id = one.call_id
        for caller in (one, two):
            await phone.call(caller)
        for caller in (one, two):
            await hang_up(phone, caller)
        ids = {end.call_id for end in await server.ended(2)}
        assert len(ids) == 2
        assert one.call_id in ids


async def test_replaced_call_goes_on_as_the_same_one() -> None:
    async with stage() as server, phone_at(server) as phone, phone_at(server) as other:
        old, new = phone.caller(), other.caller()
        port = (await phone.call(old)).audio[0][1].port
        await phone.talk(port, 0.3)
        replaces = f"{old.call_id};to-tag={old.to_tag};from-tag={old.tag}"
        port = (await other.call(new, Replaces=replaces)).audio[0][1].port
        await phone.hear_request("BYE")
        heard = server.recognizer.running[0].pushed
        await other.talk(port, 0.5)
        await server.until(lambda: server.recognizer.running[0].pushed > heard)
        assert END not in server.actions()
        await other.call(new, other.offer("inactive"))
        await hang_up(other, new)
        (end,) = await server.ended()
        assert end.call_id == old.call_id
        assert [leg.leg for leg in end.legs] == ["caller"]
        assert len(server.recognizer.opened) == 1
        assert server.actions() == [START, CallAction.TRANSFER, HOLD, END]


async def test_call_goes_on_where_its_replacement_has_a_line_too_many() -> None:
    async with stage(max_sessions=1) as server, phone_at(server) as phone, phone_at(server) as other:
        old, new = phone.caller(), other.caller()
        await phone.call(old)
        second = phone.offer().split(b"t=0 0\r\n")[1]
        replaces = f"{old.call_id};to-tag={old.to_tag};from-tag={old.tag}"
        answer = await other.call(new, other.offer() + second, Replaces=replaces)
        assert [bool(line.port) for line in answer.media] == [True, False]
        await phone.hear_request("BYE")
        await hang_up(other, new)
        (end,) = await server.ended()
        assert (end.call_id, end.reason) == (old.call_id, "completed")


async def test_hold_goes_over_to_the_replacement() -> None:
    async with stage() as server, phone_at(server) as phone, phone_at(server) as other:
        old, new = phone.caller(), other.caller()
        await phone.call(old)
        await phone.call(old, phone.offer("inactive"))
        replaces = f"{old.call_id};to-tag={old.to_tag};from-tag={old.tag}"
        await other.call(new, Replaces=replaces)
        await phone.hear_request("BYE")
        await other.call(new, other.offer("inactive"))
        await hang_up(other, new)
        await server.ended()
        assert [action for action in server.actions() if action in (HOLD, RESUME)] == [HOLD, RESUME, HOLD]


async def test_second_audio_line_is_a_second_leg() -> None:
    async with stage() as server, phone_at(server) as phone, phone_at(server) as other:
        caller = phone.caller()
        second = other.offer().split(b"t=0 0\r\n")[1]
        ports = [line.port for _, line in (await phone.call(caller, phone.offer() + second)).audio]
        await other.talk(ports[1], 0.5)
        await server.until(lambda: server.recognizer.running[1].pushed > 0)
        assert server.recognizer.running[0].pushed == 0
        await phone.call(caller, phone.offer() + second.replace(b"m=audio %d" % other.rtp_port, b"m=audio 0"))
        await server.until(lambda: len(server.recognizer.sessions) == 1)
        assert END not in server.actions()
        await hang_up(phone, caller)
        (end,) = await server.ended()
        assert [leg.leg for leg in end.legs] == ["caller", "caller-2"]


async def test_early_cancel_begins_no_call_twice() -> None:
    async with stage(changed(ring=True)) as server, phone_at(server) as phone:
        caller = phone.caller()
        invite = caller.request("INVITE", phone.offer(), Require="100rel")
        phone.put(invite)
        ringing = await phone.answer()
        assert ringing.status == 180
        phone.put(caller.request("CANCEL", cseq=1, branch=invite.via.branch))
        statuses = {(await phone.answer()).status for _ in range(2)}
        assert statuses == {200, 487}
        (end,) = await server.ended()
        assert end.reason == "cancelled"


async def test_credentials_are_asked_for() -> None:
    config = changed(credentials=(Credential(username="alice", password="secret"),))
    async with stage(config) as server, phone_at(server) as phone:
        caller = phone.caller()
        invite = caller.request("INVITE", phone.offer())
        challenge = await phone.ask(invite)
        assert challenge.status == 401
        phone.put(caller.request("ACK", cseq=1, branch=invite.via.branch))
        _, value = DigestClient("alice", "secret").authorize(challenge, "INVITE", invite.uri)
        await phone.call(caller, Authorization=value)
        await hang_up(phone, caller)
        await server.ended()


async def test_wrong_passwords_are_counted_where_the_metrics_look() -> None:
    config = changed(credentials=(Credential(username="alice", password="secret"),))
    async with stage(config) as server, phone_at(server) as phone:
        caller = phone.caller()
        invite = caller.request("INVITE", phone.offer())
        challenge = await phone.ask(invite)
        phone.put(caller.request("ACK", cseq=1, branch=invite.via.branch))
        _, value = DigestClient("alice", "guess").authorize(challenge, "INVITE", invite.uri)
        refused = await phone.ask(caller.request("INVITE", phone.offer(), Authorization=value))
        assert refused.status == 401
        digest = server.connector.stats.digest
        assert (digest.challenged, digest.wrong, digest.accepted) == (1, 1, 0)


async def test_stranger_gets_no_answer_at_all() -> None:
    async with stage(changed(allow=("192.0.2.0/24",))) as server, phone_at(server) as phone:
        phone.put(phone.caller().request("INVITE", phone.offer()))
        await server.until(lambda: server.connector.stats.transport.strangers)
        assert phone.messages.empty()
        assert server.connector.stats.transport.received == 0
    async with stage(changed(allow=("127.0.0.0/8",))) as server, phone_at(server) as phone:
        assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 200


async def test_noise_is_counted_and_not_answered() -> None:
    async with stage() as server, phone_at(server) as phone:
        for noise in (b"\r\n\r\n", b"\x00", b"hello", b"INVITE sip:x SIP/2.0\r\n\r\n", b"\xff" * 2000):
            phone._sip.sendto(noise)
        assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 200
        stats = server.connector.stats.transport
        assert (stats.keepalives, stats.malformed) == (2, 3)
        assert phone.messages.empty()


async def test_port_that_is_taken_is_named() -> None:
    async with stage() as server:
        other = Stage(server.calls, server.connector, server.recognizer)
        taken = SipConfig(udp=f"{LOOPBACK}:{other.address[1]}", tcp=None)
        with pytest.raises(SipUnavailable, match=r"udp = .*in use"):
            await type(server.connector)(server.calls, taken).start()


@pytest.mark.parametrize("held", ["inactive", "sendonly"])
async def test_call_on_hold_is_resumed_by_the_answer_to_a_reinvite_without_an_offer(held: str) -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        await phone.call(caller)
        told = [START]
        for direction, action in ((held, HOLD), ("sendrecv", RESUME)):
            told.append(action)
            invite = caller.request("INVITE")
            answer = await phone.ask(invite)
            assert [line.direction.value for _, line in parse(answer.body).audio] == ["sendrecv"]
            plain = phone.offer(direction).replace(b"a=sendrecv\r\n", b"")
            phone.put(caller.ack(invite, plain))
            await server.until(lambda: len(server.actions()) == len(told))
            assert server.actions() == told
        await hang_up(phone, caller)
        await server.ended()


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


async def test_keys_under_an_ssrc_of_their_own_are_heard_beside_the_audio() -> None:
    async with stage() as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.talk(port, 0.4)
        numbers = itertools.count(60_000)
        for digit in (6, 7):
            for index in range(6):
                event = EventPayload(digit, index >= 3, 10, 160 * min(index + 1, 4)).encode()
                packet = RtpPacket(101, next(numbers), 3_000_000_000 + digit * 1_600, 99, event)
                phone.send_rtp(packet.encode(), port)
                await phone.talk(port, 0.02)
        await phone.talk(port, 0.2)
        await server.until(lambda: server.keys() == ["6", "7"])
        await hang_up(phone, caller)
        await server.ended()
        assert server.keys() == ["6", "7"]


@pytest.mark.parametrize("how", ["port 0", "no line"])
async def test_call_whose_only_line_is_taken_away_is_on_hold_until_it_is_back(how: str) -> None:
    config = changed(rtp=RtpConfig(inactivity_s=0.3))
    said = script(words("first words")), script(words("second words"))
    async with stage(config, *said) as server, phone_at(server) as phone:
        caller = phone.caller()
        port = (await phone.call(caller)).audio[0][1].port
        await phone.talk(port, seconds=1.6)
        head = phone.offer().partition(b"m=audio")[0]
        gone = caller.request("INVITE", head if how == "no line" else head + b"m=audio 0 RTP/AVP 0\r\n")
        assert (await phone.ask(gone)).status == 200
        phone.put(caller.ack(gone))
        await asyncio.sleep(2.5)
        back = caller.request("INVITE", phone.offer())
        answer = await phone.ask(back)
        phone.put(caller.ack(back))
        await phone.talk(parse(answer.body).audio[0][1].port, seconds=1.6)
        await hang_up(phone, caller)
        await server.ended()
        assert [one for one in server.actions() if one is not CallAction.UPDATE] == [START, HOLD, RESUME, END]
        assert [one.transcript for one in server.finals()] == ["first words", "second words"]
        assert {one.speaker_role for one in server.finals()} == {SpeakerRole.CUSTOMER}
