"""Twilio Media Streams: its messages, its signature, TwiML, and a player that plays its side."""
