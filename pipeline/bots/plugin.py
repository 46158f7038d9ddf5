"""Bots from the names of their classes."""

from dataclasses import dataclass

from pipeline.bots.attended import AttendedCall
from pipeline.bots.bot import Bot
from pipeline.bots.config import BotPlugin
from pipeline.errors import BotMisconfigured
from pipeline.records import CallInfo
from supervision import PluginError, make_plugin


def load_bot(plugin: BotPlugin) -> Bot:
    """Make it. Raises `BotMisconfigured` for whatever stands in the way."""
    named = f"[bots] plugins: {plugin.class_}"
    try:
        bot = make_plugin(named, plugin.class_, plugin.options, untouched=BotMisconfigured)
    except PluginError as error:
        raise BotMisconfigured(str(error)) from error
    if not isinstance(bot, Bot):
        raise BotMisconfigured(f"{named}: it is no bot: it needs name, attends and attend")
    return _OfConnectors(bot, plugin.connectors) if plugin.connectors else bot


@dataclass(frozen=True, slots=True)
class _OfConnectors:
    """A bot for the calls of some connectors."""

    bot: Bot
    connectors: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.bot.name

    def attends(self, info: CallInfo) -> bool:
        return info.connector in self.connectors and self.bot.attends(info)

    async def attend(self, call: AttendedCall) -> None:
        await self.bot.attend(call)
