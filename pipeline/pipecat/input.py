"""From a leg into a pipeline: its audio, key presses, and the records of its call."""

import asyncio
from collections.abc import Awaitable, Callable

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    ClientConnectedFrame,
    EndFrame,
    InputAudioRawFrame,
    InputDTMFFrame,
    StartFrame,
)
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from engine.api import SAMPLE_RATE_HZ
from pipeline.bots import AttendedCall
from pipeline.pipecat.source import TrunklineRecordFrame
from pipeline.playback.conversion import Converter, to_int16
from sinks.record import AnyRecord, DtmfRecord

_KEYS = frozenset(KeypadEntry)


class TrunklineInput(BaseInputTransport):
    """Made by `TrunklineTransport`. `connected`, `disconnected`: what to do when the pipeline has started, and when the
    call has ended otherwise than by the pipeline."""

    def __init__(
        self,
        call: AttendedCall,
        leg: str,
        params: TransportParams,
        connected: Callable[[], Awaitable[None]],
        disconnected: Callable[[], Awaitable[None]],
        name: str | None = None,
    ) -> None:
        super().__init__(params, name=name)
        self._call, self._leg = call, leg
        self._connected, self._disconnected = connected, disconnected
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        if not self._tasks:
            if self._params.audio_in_enabled:
                self._tasks.append(self.create_task(self._listen()))
            self._tasks.append(self.create_task(self._read()))
            await self._connected()
            await self.push_frame(ClientConnectedFrame())

    async def stop(self, frame: EndFrame) -> None:
        await self._end()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await self._end()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await self._end()
        await super().cleanup()

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await self.cancel_task(task)

    async def _listen(self) -> None:
        if self._leg not in self._call.call.legs:
            await self.push_error(
                f"call {self._call.info.call_id} has no leg {self._leg!r}", force_treat_as_permanent=True
            )
            return
        rate_hz = self.sample_rate
        converter = Converter(SAMPLE_RATE_HZ, rate_hz)
        async for pcm in self._call.audio(self._leg):
            samples = converter.process(to_int16(pcm))
            await self.push_audio_frame(InputAudioRawFrame(samples.astype("<i2").tobytes(), rate_hz, 1))

    async def _read(self) -> None:
        """The records, to the end of the call."""
        async for record in self._call.records:
            await self.push_frame(TrunklineRecordFrame(record))
            await self._push_key(record)
        await self._disconnected()

    async def _push_key(self, record: AnyRecord) -> None:
        if isinstance(record, DtmfRecord) and record.leg == self._leg and record.digit in _KEYS:
            await self.push_frame(InputDTMFFrame(KeypadEntry(record.digit)))
