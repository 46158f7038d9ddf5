"""Audio back to whoever is on a leg: what is to be said, when each packet goes out, and what was heard of it."""

from pipeline.playback.outlet import AudioOutlet
from pipeline.playback.pacer import Pacer
from pipeline.playback.player import LegPlayer, PlaybackStats
from pipeline.playback.utterance import Heard, Utterance

__all__ = ["AudioOutlet", "Heard", "LegPlayer", "Pacer", "PlaybackStats", "Utterance"]
