"""A fault of ours in a callback, a timer or a task of the SIP server: one call pays for it at most."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
import uvloop

from connectors.rtp.leg import MOST_FAULTS, RtpLeg
from connectors.sip.config import PeerLimits
from connectors.sip.dialog_call import DialogCall
from sinks.record import CallAction
from tests.connectors.sip.stage import CONFIG, Phone, Stage, changed, stage
from tests.pipeline.scripted import script, words

HELLO = script(words("Hello there."))


def boom(*_args: object, **_options: object) -> None:
    raise RuntimeError("boom")


@dataclass
class Two:
    """Two calls that run: what happens to the first must not touch the second."""

    stage: Stage
    monkeypatch: pytest.MonkeyPatch
    victim: str

    @property
    def session(self) -> DialogCall:
        return next(one for one in self.stage.connector._dialogs.values() if one.call_id == self.victim)

    @property
    def running(self) -> RtpLeg:
        (stream,) = self.session.media.streams.values()
        assert stream.endpoint._running is not None
        return stream.endpoint._running


def in_receiving(two: Two) -> None:
    two.running.leave_lane()
    two.monkeypatch.setattr(two.running.receiver, "receive", boom)


def in_feeding(two: Two) -> None:
    two.running.leave_lane()
    two.monkeypatch.setattr(two.running._feed, "deliver", boom)


def in_reports(two: Two) -> None:
    two.monkeypatch.setattr(two.running.receiver, "report", boom)
    two.running._report()


def in_timer_of_media(two: Two) -> None:
    two.running.leave_lane()
    two.monkeypatch.setattr(two.running.receiver, "next_timer", boom)


def in_watch_over_silence(two: Two) -> None:
    two.monkeypatch.setattr(two.session, "is_silent", boom)
    two.stage.connector._check_silence()


def in_timers(two: Two) -> None:
    two.monkeypatch.setattr(two.stage.connector.uas, "handle_timer", boom)
    two.stage.connector._tick()
    two.monkeypatch.undo()


def in_a_message(two: Two) -> None:
    two.monkeypatch.setattr(two.stage.connector.uas, "receive", boom)
    two.stage.connector.received(object(), two.session.sip.flow)  # type: ignore[arg-type]
    two.monkeypatch.undo()


def in_a_datagram(two: Two) -> None:
    udp = two.stage.connector._transports["UDP"]
    two.monkeypatch.setattr("connectors.sip.transport.udp.parse_datagram", boom)
    udp.datagram_received(b"OPTIONS sip:a SIP/2.0", ("127.0.0.1", 1))  # type: ignore[union-attr]
    two.monkeypatch.undo()


def in_the_end_of_media(two: Two) -> None:
    two.monkeypatch.setattr(two.session.media.negotiation, "close", boom)


def in_the_end_of_a_leg(two: Two) -> None:
    two.running.leave_lane()
    two.monkeypatch.setattr(two.running.receiver, "finish", boom)


SEAMS: list[Callable[[Two], None]] = [
    in_receiving,
    in_feeding,
    in_reports,
    in_timer_of_media,
    in_watch_over_silence,
    in_timers,
    in_a_message,
    in_a_datagram,
    in_the_end_of_media,
    in_the_end_of_a_leg,
]


async def scenario(disturb: Callable[[Two], None] | None, monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, str, str]:
    """Two calls of a second each; `disturb` in their middle."""
    async with stage(CONFIG, list(HELLO), list(HELLO)) as made:
        phones = [await Phone.open(made.address) for _ in range(2)]
        callers = [phone.caller() for phone in phones]
        ports = [(await phone.call(caller)).audio[0][1].port for phone, caller in zip(phones, callers, strict=True)]
        await asyncio.gather(*(phone.talk(port, 0.4) for phone, port in zip(phones, ports, strict=True)))
        if disturb is not None:
            disturb(Two(made, monkeypatch, callers[0].call_id))
        await asyncio.gather(*(phone.talk(port, 0.8) for phone, port in zip(phones, ports, strict=True)))
        for phone, caller in zip(phones, callers, strict=True):
            phone.put(caller.request("BYE"))
        await made.ended(2)
        for phone in phones:
            phone.close()
        made.connector.stats.failed = 0  # which the stage would object to
    return made, callers[0].call_id, callers[1].call_id


def told(made: Stage, call_id: str) -> list[object]:
    """All that the records say of a call but its times, the same words over and over left out."""
    texts = [one for one in made.finals() if one.call_id == call_id]
    calls = [one for one in made.call_records() if one.call_id == call_id]
    return [[one.transcript for one in texts], [(one.action, one.reason) for one in calls]]


@pytest.mark.parametrize("disturb", SEAMS)
async def test_the_other_call_is_told_as_if_nothing_had_happened(
    disturb: Callable[[Two], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        made, victim, other = await scenario(disturb, monkeypatch)
    texts, steps = told(made, other)
    assert texts == ["Hello there."]
    assert steps == [(CallAction.START, None), (CallAction.END, "completed")]
    assert made.connector.supervisor.failures == {}
    assert sum(made.connector.supervisor.faults.values()) >= 1
    assert caplog.text.count("Traceback") <= 2
    (end,) = [one for one in made.call_records() if one.call_id == victim and one.action is CallAction.END]
    assert end.statistics is not None


@pytest.mark.parametrize("disturb", [in_receiving, in_feeding])
async def test_a_leg_of_which_no_packet_can_be_taken_ends_and_its_end_says_why(
    disturb: Callable[[Two], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, victim, _ = await scenario(disturb, monkeypatch)
    (end,) = [one for one in made.call_records() if one.call_id == victim and one.action is CallAction.END]
    assert end.reason == "internal error: leg caller: RuntimeError: boom"


async def test_a_few_packets_that_cannot_be_taken_are_let_go_and_the_leg_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [MOST_FAULTS - 1]

    def disturb(two: Two) -> None:
        two.running.leave_lane()
        receive = two.running.receiver.receive

        def fail(*arguments: object) -> None:
            if left[0]:
                left[0] -= 1
                boom()
            receive(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(two.running.receiver, "receive", fail)

    made, victim, other = await scenario(disturb, monkeypatch)
    assert told(made, victim) == told(made, other)


def test_a_fault_is_no_end_of_the_socket_on_the_loop_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop closes a transport whose protocol raises."""

    async def run() -> None:
        async with stage(CONFIG, list(HELLO)) as made:
            phone = await Phone.open(made.address)
            real = made.connector.uas.receive
            monkeypatch.setattr(made.connector.uas, "receive", boom)
            phone.put(phone.caller().request("OPTIONS"))
            await made.until(lambda: made.connector.stats.failed == 1)
            monkeypatch.setattr(made.connector.uas, "receive", real)
            assert (await phone.ask(phone.caller().request("OPTIONS"))).status == 200
            phone.close()
            made.connector.stats.failed = 0

    uvloop.run(run())


LIMITS = PeerLimits(first_message_s=0.1, message_s=0.1, idle_connection_s=60.0)


@pytest.mark.parametrize(
    "sent", [b"", b"OPTIONS sip:a SIP/2.0\r\nVia: ", b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_connection_that_sends_nothing_or_half_a_message_is_closed_and_counted(sent: bytes) -> None:
    async with stage(changed(limits=LIMITS, tcp="127.0.0.1:0")) as made:
        reader, writer = await asyncio.open_connection(*made.connector.addresses["TCP"])
        writer.write(sent)
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        assert made.connector.stats.transport.idle == 1


async def test_a_message_that_trickles_in_gets_no_more_time() -> None:
    limits = msgspec.structs.replace(LIMITS, message_s=0.3)
    async with stage(changed(limits=limits, tcp="127.0.0.1:0")) as made:
        reader, writer = await asyncio.open_connection(*made.connector.addresses["TCP"])
        writer.write(b"OPTIONS sip:a SIP/2.0\r\nVia: ")

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(trickle())
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):  # what still trickles is answered with a reset
                await reader.read()
        task.cancel()
        writer.close()
        assert made.connector.stats.transport.idle == 1
