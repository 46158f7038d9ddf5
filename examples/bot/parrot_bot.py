"""A bot in thirty lines: says back what the caller says, and stops when it is spoken to."""

from trunkline import AttendedCall, CallEnded, CallInfo, NoWayBack, TranscriptRecord
from trunkline_bot.voice import RATE_HZ, EspeakVoice


class ParrotBot:
    """Option, by keyword: the `language` of its voice."""

    name = "parrot"

    def __init__(self, language: str = "en-US") -> None:
        self._language, self._voice = language, EspeakVoice()

    def attends(self, info: CallInfo) -> bool:
        return info.metadata.get("queue") != "people"

    async def attend(self, call: AttendedCall) -> None:
        try:
            leg = await call.way_back()
            async for record in call.records:
                if not isinstance(record, TranscriptRecord) or record.leg != leg or not record.transcript:
                    continue
                call.call.stop(leg)
                if record.is_final:
                    pcm = await self._voice.render(record.transcript, self._language)
                    call.call.play(leg, pcm, RATE_HZ)
        except (NoWayBack, CallEnded):
            pass
