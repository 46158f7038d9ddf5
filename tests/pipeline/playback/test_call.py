"""`Call.play` on the real clock and a real pipeline."""

import time

import numpy as np
import pytest

from pipeline import CallEnded, NoWayBack
from tests.pipeline.playback.line import Outlet, ramp
from tests.pipeline.scripted import ScriptedRecognizer
from tests.pipeline.stage import AGENT, CALLER, Stage, info, silence


class LoudAudio:
    """A stage with a caller whose audio is loud."""

    def __init__(self) -> None:
        self.stage = Stage(ScriptedRecognizer())
        self.call = self.stage.calls.start(info())
        self.leg = self.call.add_leg(CALLER)
        self.outlet = Outlet(time.monotonic)
        self.leg.connect_outlet(self.outlet)
        self.frames = 0

    def hear(self, arrival: float) -> None:
        frame = silence(self.frames * 160, arrival)
        self.frames += 1
        frame.samples[:] = 0
        self.leg.push(frame)
        self.stage.calls.ingest.tick()

    @property
    def heard(self) -> list[bool]:
        """Of each frame, whether it was loud; the filter holds back some samples."""
        audio = self.stage.recognizer.running[0].audio()
        return [bool(np.abs(audio[at + 100 : at + 220]).max() > 0.5) for at in range(0, audio.size - 320, 320)]


async def test_a_call_is_played_to_its_leg_and_counted() -> None:
    loud = LoudAudio()
    said = loud.call.play("caller", ramp(1_600), 8_000)
    heard = await said.wait()
    assert (heard.seconds, heard.interrupted) == (0.2, False)
    np.testing.assert_array_equal(loud.outlet.pcm, ramp(1_600))
    assert loud.stage.calls.stats.playback.seconds == pytest.approx(0.2)
    said = loud.call.play("caller", ramp(16_000), 8_000)
    (stopped,) = loud.call.stop("caller")
    assert stopped.interrupted
    assert loud.call.stop("agent") == []
    await loud.stage.end()
    with pytest.raises(CallEnded):
        loud.call.play("caller", ramp(1_600), 8_000)


async def test_a_leg_that_only_listens_and_one_that_is_not_there() -> None:
    loud = LoudAudio()
    loud.call.add_leg(AGENT)
    with pytest.raises(NoWayBack, match="leg agent"):
        loud.call.play("agent", ramp(160), 8_000)
    with pytest.raises(CallEnded, match="no leg"):
        loud.call.play("nobody", ramp(160), 8_000)
    with pytest.raises(ValueError, match="flat array"):
        loud.call.play("caller", np.zeros(160), 8_000)
    assert (await loud.call.play("caller", ramp(160), 8_000).wait()).seconds == 0.02
    await loud.stage.end()


async def test_what_comes_on_a_muted_leg_is_silence_until_it_was_heard() -> None:
    loud = LoudAudio()
    now = time.monotonic()
    for _ in range(3):
        loud.hear(now)
    await loud.call.play("caller", ramp(320), 8_000, mute=("caller",)).wait()
    now = time.monotonic()
    for index in range(4):
        loud.hear(now + 0.02 * index)
    for index in range(4):
        loud.hear(now + 10 + 0.02 * index)
    assert loud.heard == [True] * 3 + [False] * 4 + [True] * 3
    assert loud.leg.intake.stats.gaps == 0
    await loud.stage.end()


async def test_packets_of_a_muted_leg_do_not_pass_its_queue_and_do_again_afterwards() -> None:
    loud = LoudAudio()
    ingest, now = loud.stage.calls.ingest, time.monotonic()
    for _ in range(3):
        loud.hear(now)

    def take(arrival: float) -> bool:
        ticket = loud.leg.intake.ticket
        assert ticket is not None
        codes = np.zeros((1, 160), np.int16)
        taken = ingest.push_packets(np.array([ticket]), np.array([loud.frames * 160]), codes, np.array([arrival]))
        loud.frames += bool(taken[0])
        return bool(taken[0])

    assert take(now)
    loud.leg.intake.mute_until(now + 1)
    assert not take(now)
    loud.hear(now)
    assert not take(now)
    loud.hear(now + 2)
    assert take(now + 2)
    assert loud.heard[:5] == [True] * 4 + [False]
    await loud.stage.end()


async def test_what_is_said_ends_with_its_leg() -> None:
    loud = LoudAudio()
    said = loud.call.play("caller", ramp(80_000), 8_000)
    await loud.stage.end()
    assert (await said.wait()).interrupted
