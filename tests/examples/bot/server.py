"""The whole server with the demo model and the example bot, and what a caller of it is heard to say and to be told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from connectors.sip.config import SipConfig
from connectors.webrtc.config import WebRtcConfig
from engine.checkpoint.find import load_checkpoint
from engine.engine import Engine
from pipeline.bots import BotPlugin, BotsConfig
from sinks.config import JsonlConfig
from sinks.record import AnyRecord, CallAction, CallRecord, TranscriptRecord
from trunkline.config import Config, ServerConfig
from trunkline.demo.report import finals
from trunkline.server import Server
from trunkline_bot.own_leg import NAME as BOT_LEG
from trunkline_bot.voice import RATE_HZ, EspeakVoice

CALLER_VARIANT = "+f2"


@dataclass
class Watch:
    """Sees each record before the bot does. `said_s`: how much of the bots' audio went out, in all, by each record.
    `sentences`: that the bots began to say, in order, with their language."""

    server: Server
    records: list[AnyRecord] = field(default_factory=list)
    said_s: list[float] = field(default_factory=list)
    sentences: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        publish = self.server.calls._publish

        def watched(records: Sequence[AnyRecord]) -> None:
            self.records += records
            self.said_s += [self.server.calls.stats.playback.seconds] * len(records)
            publish(records)

        self.server.calls._publish = watched
        for bot in self.server.calls.bots._bots:
            made: Any = getattr(bot, "bot", bot)  # within that for some connectors
            self._overhear(made._voice)

    def _overhear(self, voice: EspeakVoice) -> None:
        render = voice.render

        async def overheard(sentence: str, language: str) -> NDArray[np.int16]:
            self.sentences.append((sentence, language))
            return await render(sentence, language)

        setattr(voice, "render", overheard)  # noqa: B010 - a method of an instance

    async def ended(self, timeout_s: float = 60.0) -> CallRecord:
        """The END of the one call since the last `clear`."""
        async with asyncio.timeout(timeout_s):
            while not self.steps(CallAction.END):  # noqa: ASYNC110 - the records are a plain list
                await asyncio.sleep(0.05)
        (end,) = self.steps(CallAction.END)
        return end

    def clear(self) -> None:
        self.records.clear()
        self.said_s.clear()
        self.sentences.clear()

    def steps(self, action: CallAction) -> list[CallRecord]:
        return [one for one in self.records if isinstance(one, CallRecord) and one.action is action]

    def finals(self, *, of_bot: bool) -> list[TranscriptRecord]:
        """The segments of a leg in order, each in its latest final revision, those without words left out."""
        found = [one for one in self.records if isinstance(one, TranscriptRecord) and (one.leg == BOT_LEG) is of_bot]
        return [one for one in finals(found, found[0].leg) if one.transcript] if found else []

    def of_caller(self, *, final: bool) -> int:
        """The index of the first record with words of the caller."""
        return next(
            index
            for index, one in enumerate(self.records)
            if isinstance(one, TranscriptRecord) and one.leg != BOT_LEG and one.transcript and one.is_final >= final
        )


@asynccontextmanager
async def talking_server(sip: SipConfig | None = None) -> AsyncIterator[tuple[str, Watch]]:
    """Its URL, and what comes of its calls."""
    config = Config(
        server=ServerConfig(port=0, drain_s=5),
        jsonl=JsonlConfig(path=""),
        webrtc=WebRtcConfig(),
        sip=sip,
        bots=BotsConfig(
            plugins=(
                BotPlugin(class_="trunkline_bot:OrderBot", connectors=("twilio",)),
                BotPlugin(class_="trunkline_bot:OrderBot", options={"digits": 4}),
            )
        ),
    )
    server = Server(config, Engine(load_checkpoint(), max_sessions=8))
    async with server.running() as url:
        yield url, Watch(server)


async def speech(rate_hz: int, seconds: float, *lines: tuple[float, str, str]) -> NDArray[np.int16]:
    """`lines`: when, in seconds, the sentence, its language. int16 (T,) at `rate_hz`, silent to `seconds`."""
    voice, whole = EspeakVoice(CALLER_VARIANT), np.zeros(round(seconds * RATE_HZ), np.int16)
    for at_s, sentence, language in lines:
        pcm, begin = await voice.render(sentence, language), round(at_s * RATE_HZ)
        whole[begin : begin + pcm.size] = pcm
    resampled: NDArray[np.int16] = soxr.resample(whole, RATE_HZ, rate_hz)
    return resampled
