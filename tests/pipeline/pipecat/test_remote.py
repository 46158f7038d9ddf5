"""`TrunklineSTTService.connect`: by an engine behind a socket, with the shipped model and real speech."""

import asyncio
from pathlib import Path

import soundfile
from pipecat.frames.frames import InputAudioRawFrame, VADUserStoppedSpeakingFrame
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
    pcm, rate_hz = soundfile.read(CALL, dtype="int16", start=round(2.7 * 8_000), stop=round(6.5 * 8_000))
    caller = pcm[:, 0]
    pieces = [caller[k : k + rate_hz // 50].tobytes() for k in range(0, caller.size, rate_hz // 50)]
    audio = [InputAudioRawFrame(piece, rate_hz, 1) for piece in pieces]
    stopped = VADUserStoppedSpeakingFrame(stop_secs=0.2)
    with Engine.load(max_sessions=4) as engine:
        server = EngineServer(engine)
        serving = asyncio.create_task(server.listen(at))
        await until(path.exists)
        one, other = TrunklineSTTService.connect(at), TrunklineSTTService.connect(at)
        connected = asyncio.Event()
        one.add_event_handler("on_connected", lambda _: connected.set())
        speaking = asyncio.create_task(
            run_test(one, frames_to_send=[*audio, SleepFrame(0.5), stopped], start_timeout=10)
        )
        await run_test(other, frames_to_send=[SleepFrame(0.3)], start_timeout=10)
        down, _ = await speaking
        assert connected.is_set()
        server.stop()
        await serving
    assert not address._connections
    assert finals(down) == [("Mi número de cuenta es 6103.", True)]
