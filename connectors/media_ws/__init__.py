"""Telephony media over WebSockets: Twilio Media Streams, with one driver for all dialects."""

from connectors.media_ws.config import MediaLimits, Roles, TwilioConfig
from connectors.media_ws.driver import MediaWebSocket
from connectors.media_ws.twilio.endpoint import twilio
from connectors.media_ws.twilio.player import PlayerReport, TwilioPlayer
from connectors.media_ws.twilio.twiml import twiml

__all__ = [
    "MediaLimits",
    "MediaWebSocket",
    "PlayerReport",
    "Roles",
    "TwilioConfig",
    "TwilioPlayer",
    "twilio",
    "twiml",
]
