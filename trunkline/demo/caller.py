"""A caller of the demo's bot: listens to what it is played, and says its lines when it is their turn.

It knows of the bot what a telephone knows: the audio. The inbound track is a tape of silence that it writes its words
on, ahead of where the player is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from connectors.media_ws import TwilioPlayer
from connectors.media_ws.track import Track
from pipeline.g711 import encode_mulaw
from trunkline_bot.voice import RATE_HZ as VOICE_HZ
from trunkline_bot.voice import Voice

RATE_HZ = 8_000
LONGEST_S = 120.0
"""The caller hangs up then."""

QUIET_S = 0.7
"""The other one has finished."""

_LEAD = 4 * 160
_LOOK_S = 0.05
_SILENCE = 0xFF


@dataclass(frozen=True, slots=True)
class Line:
    """Said `after_s` of the bot's speech, so into it; None: once the bot has finished. `pause_s` before it, of silence
    that is the caller's own."""

    text: str
    language: str
    after_s: float | None = None
    pause_s: float | None = None


SCRIPT = (
    Line("Where is my order?", "en-US", after_s=1.0),
    Line("My order number is 4 7 1 2.", "en-US"),
    Line("It is 8 3 5 6.", "en-US", pause_s=1.6),
    Line("Sí, es correcto.", "es-US"),
)
"""Interrupts the greeting, dictates a number with a pause in its middle, and goes on in another language."""


def tape() -> NDArray[np.uint8]:
    """Mu-law codes of a line that is silent to its end."""
    return np.full(round(LONGEST_S * RATE_HZ), _SILENCE, np.uint8)


async def render(script: Sequence[Line], voice: Voice) -> list[tuple[Line, NDArray[np.uint8]]]:
    """The lines with their audio. Raises `VoiceFailed`."""
    rendered = []
    for line in script:
        pcm = await voice.render(line.text, line.language)
        rendered.append((line, encode_mulaw(soxr.resample(pcm, VOICE_HZ, RATE_HZ))))
    return rendered


class Caller:
    """`tape`: the inbound track of `player`."""

    def __init__(self, player: TwilioPlayer, tape: NDArray[np.uint8]) -> None:
        self._player, self._tape = player, tape

    async def talk(self, spoken_lines: Sequence[tuple[Line, NDArray[np.uint8]]]) -> None:
        """Say all lines, each in its turn, with its audio: mu-law codes."""
        spoken = 0  # by the bot, up to the last line
        for line, audio in spoken_lines:
            if line.pause_s is not None:
                await asyncio.sleep(line.pause_s)
            elif line.after_s is not None:
                await self._heard(spoken + round(line.after_s * RATE_HZ))
            else:
                await self._finished(spoken)
            spoken = len(self._player.report.heard)
            await self._say(audio)

    async def _say(self, audio: NDArray[np.uint8]) -> None:
        begin = self._player.report.media[Track.INBOUND] * 160 + _LEAD
        end = min(begin + audio.size, self._tape.size)
        self._tape[begin:end] = audio[: end - begin]
        await asyncio.sleep((end - begin + _LEAD) / RATE_HZ)

    async def _heard(self, samples: int) -> None:
        while len(self._player.report.heard) < samples:  # noqa: ASYNC110 - the report is plain counters
            await asyncio.sleep(_LOOK_S)

    async def _finished(self, before: int) -> None:
        """The bot has said something after `before`, and is quiet."""
        loop = asyncio.get_running_loop()
        heard, since = before, loop.time()
        while heard == before or loop.time() - since < QUIET_S:
            await asyncio.sleep(_LOOK_S)
            if len(self._player.report.heard) != heard:
                heard, since = len(self._player.report.heard), loop.time()
