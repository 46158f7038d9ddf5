"""The whole connector on loopback: SIP and RTP sockets, the real pipeline, a scripted recogniser."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from connectors.rtp.config import RtpConfig
from connectors.rtp.dtmf import EventPayload
from connectors.rtp.packet import RtpPacket
from connectors.sip import Credential, SipConfig, SipUnavailable
from connectors.sip.digest import DigestClient
from connectors.sip.transaction import TimerValues
from pipeline.config import PipelineConfig
from sinks.record import SpeakerRole
from tests.connectors.sip.stage import CONFIG, END, LOOPBACK, START, Stage, changed, hang_up, phone_at, stage
from tests.garbage import collected
from tests.pipeline.scripted import script, words

QUICK = TimerValues(t1=0.02, t2=0.08, t4=0.1)


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
