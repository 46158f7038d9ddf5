"""Streaming recognition for voice frameworks: what is said as interim and final texts, of which none is taken back."""

from pipeline.recognition.address import engine_at, leave_engine
from pipeline.recognition.audio import To16k
from pipeline.recognition.stream import SpeechStream, Trouble
from pipeline.recognition.utterance import Said

__all__ = ["Said", "SpeechStream", "To16k", "Trouble", "engine_at", "leave_engine"]
