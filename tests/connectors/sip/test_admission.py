"""SIP and SIPREC in front of an engine in another process: peers are answered when it takes the call's legs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors.sip.call import EndReason
from connectors.sip.message.message import SipResponse
from engine.api import FaultReason, SessionFault
from pipeline.config import PipelineConfig
from sinks.record import CallAction
from tests.connectors.sip.recorder import ALEX, CARLA, recorder_at, said
from tests.connectors.sip.stage import CONFIG, Phone, Stage, stage

PATIENT = PipelineConfig(tick_ms=5, answer_timeout_s=30.0)
HASTY = PipelineConfig(tick_ms=5, answer_timeout_s=0.02)


@asynccontextmanager
async def distant(pipeline: PipelineConfig = PATIENT) -> AsyncIterator[tuple[Stage, Phone]]:
    async with stage(CONFIG, pipeline=pipeline, answers=False) as server:
        phone = await Phone.open(server.address)
        try:
            yield server, phone
        finally:
            server.recognizer.answers = True
            phone.close()


async def asked(server: Stage, count: int = 1) -> None:
    await server.until(lambda: len(server.recognizer.unanswered) == count)


def two_lines(phone: Phone) -> bytes:
    line = phone.offer().split(b"t=0 0\r\n")[1]
    return phone.offer() + line


async def final_of(phone: Phone) -> SipResponse:
    """The next final answer: there may be a 180 before it."""
    while (answer := await phone.answer()).status < 200:
        pass
    return answer


async def test_an_invite_is_answered_when_the_engine_takes_the_leg_and_not_before() -> None:
    async with distant() as (server, phone):
        caller = phone.caller()
        invite = caller.request("INVITE", phone.offer())
        phone.put(invite)
        await asked(server)
        await asyncio.sleep(0.05)
        assert [one.status for one in list(phone.messages._queue) if isinstance(one, SipResponse)] in ([], [100])  # type: ignore[attr-defined]
        assert server.records == []
        server.recognizer.admit(*server.recognizer.unanswered)
        ok = await final_of(phone)
        assert ok.status == 200
        caller.learn(ok)
        phone.put(caller.ack(invite))
        assert server.actions() == [CallAction.START]
        assert (await phone.ask(caller.request("BYE"))).status == 200
        (end,) = await server.ended()
        assert end.reason == EndReason.BYE.value


@pytest.mark.parametrize("refused", [0, 1])
async def test_a_call_of_which_the_engine_refuses_a_leg_is_refused_whole_with_503_and_retry_after(refused: int) -> None:
    async with distant() as (server, phone):
        phone.put(phone.caller().request("INVITE", two_lines(phone)))
        await asked(server, 2)
        sessions = list(server.recognizer.unanswered)
        server.recognizer.refuse(sessions[refused])
        server.recognizer.admit(sessions[1 - refused])
        answer = await final_of(phone)
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")
        await server.until(lambda: server.calls.active == 0)
        assert server.records == []
        assert (server.calls.stats.calls_started, server.calls.stats.calls_refused) == (0, 1)
        assert server.connector.stats.calls == 0


async def test_a_refusal_for_good_is_no_503() -> None:
    async with distant() as (server, phone):
        phone.put(phone.caller().request("INVITE", phone.offer()))
        await asked(server)
        server.recognizer.refuse(*server.recognizer.unanswered, retryable=False)
        assert (await final_of(phone)).status == 500
        await server.until(lambda: server.calls.active == 0)
        server.connector.stats.failed = 0  # counted as ours


async def test_a_recording_of_which_the_engine_refuses_a_leg_is_refused_whole() -> None:
    async with distant() as (server, _), recorder_at(server) as recorder:
        inviting = asyncio.create_task(recorder.invite(recorder.sdp("1", "2"), said(("1", CARLA), ("2", ALEX))))
        await asked(server, 2)
        first, second = server.recognizer.unanswered
        server.recognizer.admit(first)
        server.recognizer.refuse(second)
        answer = await inviting
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "5")
        await server.until(lambda: server.calls.active == 0)
        assert server.records == []


async def test_an_invite_that_is_cancelled_while_the_engine_is_asked_gets_487_and_leaves_no_record() -> None:
    async with distant() as (server, phone):
        caller = phone.caller()
        invite = caller.request("INVITE", phone.offer())
        phone.put(invite)
        await asked(server)
        phone.put(caller.request("CANCEL", cseq=1, branch=invite.via.branch))
        statuses = sorted([(await final_of(phone)).status, (await final_of(phone)).status])
        assert statuses == [200, 487]
        await server.until(lambda: server.calls.active == 0)
        assert server.records == []
        assert server.connector.stats.calls == 0


async def test_a_server_that_stops_meanwhile_answers_and_leaves_no_record() -> None:
    async with distant() as (server, phone):
        phone.put(phone.caller().request("INVITE", phone.offer()))
        await asked(server)
        await server.calls.drain(0)
        assert (await final_of(phone)).status == 503
        assert server.records == []


async def test_an_engine_that_does_not_answer_keeps_no_caller_waiting_and_a_late_refusal_hangs_up() -> None:
    async with distant(HASTY) as (server, phone):
        caller = phone.caller()
        await phone.call(caller)
        server.recognizer.refuse(*server.recognizer.unanswered)
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "refused by the engine"


async def test_a_call_whose_engine_is_lost_for_good_is_hung_up_and_the_end_says_why() -> None:
    async with distant() as (server, phone):
        server.recognizer.answers = True
        await phone.call(phone.caller())
        (session,) = server.recognizer.sessions
        server.recognizer.lose(session, SessionFault(FaultReason.LOST, "gone"))
        await phone.hear_request("BYE")
        (end,) = await server.ended()
        assert end.reason == "engine lost"


async def test_a_line_that_a_running_call_adds_and_the_engine_refuses_is_refused_in_the_answer() -> None:
    async with distant() as (server, phone):
        server.recognizer.answers = True
        caller = phone.caller()
        await phone.call(caller)
        server.recognizer.answers = False
        adding = asyncio.create_task(phone.call(caller, two_lines(phone)))
        await asked(server)
        server.recognizer.refuse(*server.recognizer.unanswered)
        assert [bool(line.port) for line in (await adding).media] == [True, False]
        assert server.connector.stats.refused_lines == 1
        server.recognizer.answers = True
        assert [bool(line.port) for line in (await phone.call(caller, two_lines(phone))).media] == [True, True]
        assert (await phone.ask(caller.request("BYE"))).status == 200
        (end,) = await server.ended()
        assert [leg.leg for leg in end.legs] == ["caller", "caller-3"]


async def test_a_stream_that_a_recording_adds_and_the_engine_refuses_is_refused_and_taken_later() -> None:
    async with distant() as (server, _), recorder_at(server) as recorder:
        both = said(("1", CARLA), ("2", ALEX))
        server.recognizer.answers = True
        await recorder.invite(recorder.sdp("1"), said(("1", CARLA)))
        server.recognizer.answers = False
        adding = asyncio.create_task(recorder.invite(recorder.sdp("1", "2"), both))
        await asked(server)
        server.recognizer.refuse(*server.recognizer.unanswered)
        await adding
        assert list(recorder.ports) == ["1"]
        server.recognizer.answers = True
        await recorder.invite(recorder.sdp("1", "2"), both)
        assert list(recorder.ports) == ["1", "2"]
        await recorder.hang_up()
        (end,) = await server.ended()
        assert [leg.leg for leg in end.legs] == ["1", "2"]
        assert end.metadata.get("leg.2.fault", "") == ""
