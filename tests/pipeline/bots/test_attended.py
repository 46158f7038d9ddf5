"""A call as a bot holds it."""

import asyncio
import time

import pytest

from pipeline import AttendedCall, CallEnded, NoWayBack
from tests.pipeline.playback.line import Outlet
from tests.pipeline.scripted import ScriptedRecognizer
from tests.pipeline.stage import AGENT, CALLER, Stage, info


def attended(stage: Stage) -> AttendedCall:
    call = stage.calls.start(info())
    call.add_leg(AGENT)
    call.add_leg(CALLER)
    return AttendedCall(call, lambda session, audio: None, lambda records, audio_s: None)


async def test_the_way_back_is_the_first_leg_that_has_one_once_it_has() -> None:
    stage = Stage(ScriptedRecognizer())
    one = attended(stage)
    asking = asyncio.create_task(one.way_back())
    await asyncio.sleep(0.1)
    assert not asking.done()
    one.call.legs["caller"].connect_outlet(Outlet(time.monotonic))
    assert await asyncio.wait_for(asking, 5) == "caller"
    await stage.end()


async def test_a_call_that_is_only_listened_to_has_no_way_back() -> None:
    stage = Stage(ScriptedRecognizer())
    with pytest.raises(NoWayBack, match="call CA1: nobody on it can be spoken to"):
        await attended(stage).way_back(patience_s=0.1)
    await stage.end()


async def test_a_call_that_has_ended_says_so() -> None:
    stage = Stage(ScriptedRecognizer())
    one = attended(stage)
    asking = asyncio.create_task(one.way_back())
    await asyncio.sleep(0)
    await stage.end()
    with pytest.raises(CallEnded, match="call CA1 has ended"):
        await asyncio.wait_for(asking, 5)
