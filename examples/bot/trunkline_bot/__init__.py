"""An example of a bot: takes an order number by telephone, in four languages, without any paid service."""

from trunkline_bot.bot import OrderBot

__all__ = ["OrderBot"]
