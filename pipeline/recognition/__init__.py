"""Streaming recognition for voice frameworks: what is said as interim and final texts, of which none is taken back."""

from pipeline.recognition.address import engine_at, leave_engine
from pipeline.recognition.audio import To16k
from pipeline.recognition.language import to_locale
from pipeline.recognition.stream import WAITING_S, SpeechStream, Trouble
from pipeline.recognition.utterance import Said

__all__ = ["WAITING_S", "Said", "SpeechStream", "To16k", "Trouble", "engine_at", "leave_engine", "to_locale"]
