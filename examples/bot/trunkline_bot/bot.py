"""`OrderBot`: what the configuration names (`trunkline_bot:OrderBot`); one for all calls."""

import logging
from typing import Literal

from trunkline import AttendedCall, CallEnded, CallInfo, EngineFull, NoWayBack
from trunkline_bot.conversation import Conversation
from trunkline_bot.dialogue import Dialogue
from trunkline_bot.own_leg import OwnLeg
from trunkline_bot.phrases import DEFAULT, PHRASES
from trunkline_bot.voice import INSTALL, EspeakVoice, NullVoice, Voice, has_espeak

logger = logging.getLogger(__name__)


class OrderBot:
    """Options, by keyword: `digits` of an order number; `language` that it begins in; `voice`: `espeak` or `null`,
    which is silent; `transcribe`: what it says is transcribed on a leg of its own, which takes a place in the engine.

    Raises `ValueError` for options that make no sense. Where espeak-ng is missing it says so and is silent.
    """

    name = "order"

    def __init__(
        self,
        *,
        digits: int = 8,
        language: str = DEFAULT,
        voice: Literal["espeak", "null"] = "espeak",
        transcribe: bool = True,
    ) -> None:
        if not 1 <= digits <= 40:
            raise ValueError(f"digits = {digits}: an order number has 1 to 40")
        if language not in PHRASES:
            raise ValueError(f"language = {language!r}: it speaks {', '.join(PHRASES)}")
        if voice not in ("espeak", "null"):
            raise ValueError(f"voice = {voice!r}: use 'espeak' or 'null'")
        self._digits, self._language, self._transcribe = digits, language, transcribe
        self._voice: Voice = EspeakVoice() if voice == "espeak" else NullVoice()
        if voice == "espeak" and not has_espeak():
            logger.warning("%s; until then the bot is silent", INSTALL)
            self._voice = NullVoice()

    def attends(self, info: CallInfo) -> bool:  # noqa: ARG002 - every call
        return True

    async def attend(self, call: AttendedCall) -> None:
        try:
            leg = await call.way_back()
        except (NoWayBack, CallEnded):
            return  # it is listened to only: nobody to talk with
        conversation = Conversation(call, leg, Dialogue(self._digits, self._language), self._voice)
        await conversation.run(self._own_leg(call) if self._transcribe else None)

    @staticmethod
    def _own_leg(call: AttendedCall) -> OwnLeg | None:
        try:
            return OwnLeg(call)
        except EngineFull:
            logger.warning("call %s: the engine has no room for what the bot says", call.info.call_id)
        except CallEnded:
            pass
        return None
