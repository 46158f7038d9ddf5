"""An utterance as who speaks sees it."""

import asyncio

import numpy as np
import pytest

from pipeline.errors import PlaybackFull
from pipeline.playback.utterance import LONGEST_S, WAITING_S
from tests.pipeline.playback.line import Line, ramp


async def test_write_waits_while_enough_waits_and_goes_on_as_it_is_played() -> None:
    line = Line()
    said = line.player.speak(8_000)
    assert await said.write(ramp(8_000))
    writing = asyncio.create_task(said.write(ramp(16_000)))
    await asyncio.sleep(0)
    assert not writing.done()
    line.run(1_100)
    await asyncio.sleep(0)
    assert await writing
    assert said._waiting <= WAITING_S * 8_000


async def test_a_writer_that_waits_is_told_of_the_end() -> None:
    line = Line()
    said = line.player.speak(8_000)
    writing = asyncio.create_task(said.write(ramp(8_000 * 10)))
    await asyncio.sleep(0)
    said.stop()
    assert not await writing
    assert (await said.wait()).interrupted


async def test_audio_that_waits_is_bounded() -> None:
    line = Line()
    said = line.player.speak(8_000)
    said.put(np.zeros(int(LONGEST_S) * 8_000, np.int16))
    with pytest.raises(PlaybackFull):
        said.put(np.zeros(1, np.int16))


async def test_marks_are_passed_in_their_places() -> None:
    line = Line()
    said = line.player.speak(16_000)
    said.mark("begin")
    for name in ("one", "two", "three"):
        said.put(ramp(3_200).astype(np.float32) / 32_768)
        said.mark(name)
    said.close()
    line.run(215)
    assert said.heard().marks == ("begin", "one")
    line.run(1_000)
    assert (await said.wait()).marks == ("begin", "one", "two", "three")
    assert line.outlet.confirms >= 3


async def test_nothing_said_is_over_at_once() -> None:
    line = Line()
    said = line.player.speak(8_000)
    said.close()
    line.run(30)
    assert said.heard() == await said.wait()
    assert not said.heard().interrupted
    assert not line.outlet.sent


@pytest.mark.parametrize("rate_hz", [0, 4_000, 96_000])
async def test_rates_that_are_no_speech_are_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match="Hz"):
        Line().player.speak(rate_hz)
