"""`TrunklineSTTService.connect`: by an engine behind a socket, with the shipped model and real speech."""

import asyncio
from pathlib import Path

import soundfile
from pipecat.frames.frames import InputAudioRawFrame, VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame
from pipecat.tests.utils import SleepFrame, run_test

from engine.engine import Engine
from engine.remote.server import EngineServer
from pipeline.pipecat.stt import TrunklineSTTService
from pipeline.recognition import address
from tests.pipeline.pipecat.frames import finals, until

CALL = Path(__file__).parents[3] / "trunkline" / "demo" / "call.wav"


async def test_speech_is_recognised_behind_a_socket_and_the_connection_ends_with_the_last_service(
    tmp_path: Path,
) -> None:
    path = tmp_path / "engine"
    at = f"unix:{path}"
    pcm, rate_hz = soundfile.read(CALL, dtype="int16", stop=8 * 8_000)
    caller = pcm[:, 0]
    pieces = [caller[k : k + rate_hz // 50].tobytes() for k in range(0, caller.size, rate_hz // 50)]
    audio = [InputAudioRawFrame(piece, rate_hz, 1) for piece in pieces]
    stopped = VADUserStoppedSpeakingFrame(stop_secs=0.2)
    with Engine.load(max_sessions=4) as engine:
        server = EngineServer(engine)
        serving = asyncio.create_task(server.listen(at))
        await until(path.exists)
        services = [TrunklineSTTService.connect(at), TrunklineSTTService.connect(at)]
        frames = [VADUserStartedSpeakingFrame(), SleepFrame(0.2), *audio, stopped, SleepFrame(2.0)]
        results = await asyncio.gather(*(run_test(one, frames_to_send=frames, start_timeout=10) for one in services))
        server.stop()
        await serving
    assert not address._connections
    first, second = (finals(down) for down, _ in results)
    assert first == second
    text = " ".join(text for text, _ in first)
    print(text)
    assert first[-1][1]
