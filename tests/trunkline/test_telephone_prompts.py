"""Real 8 kHz speech, Debian's Asterisk prompts, as calls through the server: what does not depend on the model."""

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pipeline.g711 import encode_mulaw
from sinks.record import TranscriptRecord
from tests.services.missing import missing
from tests.trunkline.conftest import Serve
from trunkline.demo.report import faults, finals

SOUNDS = Path("/usr/share/asterisk/sounds")
VOICES = {"asterisk-core-sounds-en-wav": "en_US_f_Allison", "asterisk-core-sounds-es-wav": "es_MX_f_Allison"}
PROMPTS_A_CALL = 4
FRAME_S = 0.08 + 1e-6
"""Two words that the model writes in one frame share it."""


def calls(package: str) -> list[NDArray[np.uint8]]:
    """Three calls of a few prompts each, as mu-law codes with pauses between them."""
    files = sorted((SOUNDS / VOICES[package]).glob("*.wav"))
    if not files:
        missing(f"{package} is not installed: run `python -m tests.services.install`")
    rng = random.Random(package)
    pause = np.zeros(6_000, np.int16)
    played = []
    for _ in range(3):
        parts = []
        for file in rng.sample(files, PROMPTS_A_CALL):
            samples, rate = soundfile.read(file, dtype="int16")
            assert rate == 8_000
            parts += [samples, pause]
        played.append(encode_mulaw(np.concatenate(parts[:-1])))
    return played


@pytest.mark.parametrize("package", VOICES)
async def test_prompts_end_with_finals_times_grow_and_durations_match(serve: Serve, package: str) -> None:
    played = calls(package)
    async with serve() as running:
        for number, codes in enumerate(played):
            await running.play(codes, call_sid=f"CA{number}")
    heard_words = 0
    for number, codes in enumerate(played):
        records = running.recorder.of(f"CA{number}")
        assert faults(records, {"inbound"}) == []
        seconds = len(codes) / 8_000
        end = 0.0
        transcripts = [record for record in records if isinstance(record, TranscriptRecord)]
        for final in finals(transcripts, "inbound"):
            starts, ends = [word.start for word in final.words], [word.end for word in final.words]
            assert starts == sorted(starts)
            assert ends == sorted(ends)
            assert all(start < stop for start, stop in zip(starts, ends, strict=True))
            assert final.start >= end - FRAME_S
            end = final.start + final.duration
            if final.words:
                assert (final.start, end) == pytest.approx((starts[0], ends[-1]))
            heard_words += len(final.words)
        # The flush after the last audio may put the last word up to its 0.64 s later.
        assert end <= seconds + 0.64 + 0.16
    assert heard_words > 0
