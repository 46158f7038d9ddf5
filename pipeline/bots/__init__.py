"""Bots: code that attends calls, reads what is said as it is recognised, and answers on their legs."""

from pipeline.bots.attended import AttendedCall
from pipeline.bots.bot import Bot
from pipeline.bots.config import BotPlugin, BotsConfig
from pipeline.bots.hosting import Bots, BotStats
from pipeline.bots.plugin import load_bot

__all__ = ["AttendedCall", "Bot", "BotPlugin", "BotStats", "Bots", "BotsConfig", "load_bot"]
