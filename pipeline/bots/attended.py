"""A running call as a bot holds it: what is recognised comes as records, what is heard as audio, and `call` speaks."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from engine.api import SAMPLE_RATE_HZ, Session
from pipeline.bots.inbox import Inbox
from pipeline.call import Call
from pipeline.errors import CallEnded, NoWayBack
from pipeline.records import CallInfo
from sinks.record import AnyRecord, is_partial

MOST_RECORDS = 1_000
MOST_AUDIO_S = 10.0
_LOOK_S = 0.05

Audio = Inbox[NDArray[np.float32]]


class AttendedCall:
    """`call`: to speak (`play`, `speak`, `stop`), to look at the legs, to `end` it. `on_left_out`: of records, of
    seconds of audio, that the bot was too slow for.

    `records`: of the call, from its START to its END, for one reader; partials go first where too many wait.
    """

    def __init__(
        self,
        call: Call,
        listen: Callable[[Session, Audio], None],
        on_left_out: Callable[[int, float], None],
    ) -> None:
        self.call = call
        self.records: Inbox[AnyRecord] = Inbox(MOST_RECORDS, lambda _: on_left_out(1, 0.0), may_go=is_partial)
        self._listen = listen
        self._on_left_out = on_left_out
        self._audio: list[Audio] = []

    @property
    def info(self) -> CallInfo:
        return self.call.info

    async def way_back(self, patience_s: float = 10.0) -> str:
        """The name of the first leg that can be spoken to, once there is one: a connector has its way back a moment
        after the call began. Raises `NoWayBack` where there is none in `patience_s`, `CallEnded`."""
        loop = asyncio.get_running_loop()
        late = loop.time() + patience_s
        while loop.time() < late:
            if self.call.ended:
                raise CallEnded(f"call {self.info.call_id} has ended")
            for name, leg in self.call.legs.items():
                if leg.player.outlet is not None:
                    return name
            await asyncio.sleep(_LOOK_S)
        raise NoWayBack(f"call {self.info.call_id}: nobody on it can be spoken to: see docs/playback.md")

    def audio(self, leg: str) -> AsyncIterator[NDArray[np.float32]]:
        """What comes on a leg from now on, as the recogniser gets it: float32 (T,), 16 kHz, mono, a piece for each
        tick, gaps filled with silence. Ends with the call. Raises `KeyError` where there is no such leg."""
        session = self.call.legs[leg].session
        audio: Audio = Inbox(
            round(MOST_AUDIO_S * SAMPLE_RATE_HZ),
            lambda pcm: self._on_left_out(0, pcm.size / SAMPLE_RATE_HZ),
            weigh=lambda pcm: pcm.size,
        )
        self._audio.append(audio)
        self._listen(session, audio)
        return audio

    def close(self) -> None:
        """The call is over."""
        self.records.close()
        for audio in self._audio:
            audio.close()
