"""One call: the dialogue's sentences are spoken, and it is handed what the caller says.

The invariant: while the caller has the floor nothing is said. The first word that is no back-channel takes it.
"""

import asyncio
from typing import Any

from trunkline import AnyRecord, AttendedCall, CallEnded, DtmfRecord, PlaybackError
from trunkline_bot.dialogue import Dialogue, Reply
from trunkline_bot.listening import Listening
from trunkline_bot.own_leg import OwnLeg
from trunkline_bot.understanding import interrupts
from trunkline_bot.voice import RATE_HZ, Voice

HUNG_UP = "the bot hung up"
"""The reason of a call's END."""


class Conversation:
    """With the caller on `leg`. Everything happens in the order of the records; the voice is the one task beside."""

    def __init__(self, call: AttendedCall, leg: str, dialogue: Dialogue, voice: Voice) -> None:
        self._call, self._leg, self._dialogue, self._voice = call, leg, dialogue, voice
        self._listening = Listening()
        self._reply = Reply((), dialogue.language)
        self._speaking: asyncio.Task[None] | None = None
        self._own: OwnLeg | None = None

    async def run(self, own: OwnLeg | None) -> None:
        """To the end of the call. `own`: where what is said is transcribed."""
        self._own = own
        mirror = None if own is None else asyncio.create_task(own.run())
        reading: asyncio.Future[AnyRecord] | None = None
        self._answer(self._dialogue.begin())
        try:
            while True:
                reading = reading or asyncio.ensure_future(anext(self._call.records))
                if await self._wait(reading):
                    self._take(reading.result())
                    reading = None
        except (StopAsyncIteration, CallEnded, PlaybackError):
            pass  # the caller is gone, or can be spoken to no more: the end of the call says why
        finally:
            tasks = [task for task in (mirror, reading, self._speaking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, reading: "asyncio.Future[AnyRecord]") -> bool:
        """Whether a record is there; meanwhile, speech may end, and silence last too long."""
        speaking = self._speaking
        patience_s = None if speaking is not None else self._reply.patience_s
        tasks: list[asyncio.Future[Any]] = [reading] if speaking is None else [reading, speaking]
        await asyncio.wait(tasks, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if speaking is not None and speaking.done():
            self._speaking = None
            speaking.result()
            if self._reply.hangs_up:
                await self._call.call.end(HUNG_UP)
        elif not reading.done():
            self._silent()
        return reading.done()

    def _silent(self) -> None:
        said = self._listening.end_turn()
        if said is not None:
            self._answer(self._dialogue.heard(said.text, said.language))
        elif self._listening.words:  # said without an end: what the recogniser makes of it now is the answer
            self._call.call.legs[self._leg].finalize()
        else:
            self._answer(self._dialogue.silent())

    def _take(self, record: AnyRecord) -> None:
        if record.leg != self._leg:
            return
        if isinstance(record, DtmfRecord):
            self._stop()
            self._answer(self._dialogue.pressed(record.digit))
            return
        said = self._listening.update(record)
        phrases = self._dialogue.phrases
        if self._speaking is not None and interrupts(said.text if said else self._listening.words, phrases):
            self._stop()
        if said is not None and (self._speaking is None or interrupts(said.text, phrases)):
            self._answer(self._dialogue.heard(said.text, said.language))
        elif self._listening.lacks_final:
            self._call.call.legs[self._leg].finalize()

    def _stop(self) -> None:
        """The caller has the floor, except in the last words of the call."""
        if self._speaking is not None and not self._reply.hangs_up:
            self._speaking.cancel()
            self._speaking = None
            self._call.call.stop(self._leg)

    def _answer(self, reply: Reply) -> None:
        """Begin to say it, in the place of what is being said."""
        if self._reply.hangs_up:
            return
        if reply.sentences:
            self._stop()
            self._speaking = asyncio.create_task(self._speak(reply))
        self._reply = reply

    async def _speak(self, reply: Reply) -> None:
        utterance = None
        for sentence in reply.sentences:
            pcm = await self._voice.render(sentence, reply.language)
            if utterance is None:
                utterance = self._call.call.speak(self._leg, RATE_HZ)
                if self._own is not None:
                    self._own.begins(utterance)
            if self._own is not None:
                self._own.said(pcm)
            await utterance.write(pcm)
        if utterance is not None:
            utterance.close()
            await utterance.wait()
