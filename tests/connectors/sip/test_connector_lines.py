"""Calls on loopback with several audio lines, and calls that replace one another."""

from connectors.rtp.config import RtpConfig
from sinks.record import CallAction
from tests.connectors.sip.stage import END, HOLD, RESUME, START, changed, hang_up, phone_at, stage


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
