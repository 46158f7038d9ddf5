"""The bot's own leg of a call: what the caller was played of its voice, so that it is transcribed as what it is.

The invariant: what goes into the leg is what was heard, no sample more; a sentence that was interrupted is cut off in
the transcript too. Between sentences it is silence, up to the clock.
"""

import asyncio

import numpy as np
from numpy.typing import NDArray

from trunkline import AttendedCall, AudioFrame, Encoding, LegOptions, SpeakerRole, Utterance
from trunkline_bot.voice import RATE_HZ

NAME = "bot"
_STEP_S = 0.1


class OwnLeg:
    """Raises the errors of `Call.add_leg`."""

    def __init__(self, call: AttendedCall) -> None:
        channel = max((leg.options.channel_index for leg in call.call.all_legs), default=-1) + 1
        self._leg = call.call.add_leg(LegOptions(NAME, SpeakerRole.AGENT, channel))
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._pushed = 0
        self._utterance: Utterance | None = None
        self._pcm: list[NDArray[np.int16]] = []
        self._taken = 0  # samples of the utterance

    def begins(self, utterance: Utterance) -> None:
        """Of which `said` tells the audio."""
        self.catch_up()
        self._utterance, self._pcm, self._taken = utterance, [], 0

    def said(self, pcm: NDArray[np.int16]) -> None:
        """Was written to the utterance."""
        self._pcm.append(pcm)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.catch_up()
            await asyncio.sleep(_STEP_S)

    def catch_up(self) -> None:
        """Push what was heard meanwhile."""
        utterance = self._utterance
        if utterance is not None:
            heard = utterance.heard()
            until = round(heard.seconds * RATE_HZ)
            if until > self._taken:
                self._push(np.concatenate(self._pcm)[self._taken : until])
                self._taken = until
            if not heard.finished:
                return
            self._utterance, self._pcm = None, []
            self._leg.finalize()  # where it was cut off there is neither a stop nor a pause to end the segment
        silent = round((self._loop.time() - self._began) * RATE_HZ) - self._pushed
        if silent > 0:
            self._push(np.zeros(silent, np.int16))

    def _push(self, pcm: NDArray[np.int16]) -> None:
        self._leg.push(AudioFrame(self._pushed, pcm, Encoding.L16, RATE_HZ, self._loop.time()))
        self._pushed += pcm.size
