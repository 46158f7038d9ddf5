"""RTP of the load test on loopback, and what is played."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from connectors.rtp.packet import RtpPacket
from pipeline.g711 import decode_mulaw
from trunkline.errors import ConfigError
from trunkline.loadtest.rtp_sender import PHASES, PacedRtpSender, PacedRtpStream, open_socket
from trunkline.loadtest.script import bundled, from_files

HOST = "127.0.0.1"


@asynccontextmanager
async def sending() -> AsyncIterator[PacedRtpSender]:
    sender = PacedRtpSender()
    task = asyncio.create_task(sender.run())
    yield sender
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def listener() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((HOST, 0))
    return sock


def packets(sock: socket.socket) -> list[RtpPacket]:
    found = []
    while True:
        try:
            found.append(RtpPacket.parse(sock.recv(2048)))
        except BlockingIOError:
            return found


async def test_codes_arrive_in_order_and_whole_packets_only() -> None:
    codes = np.arange(160 * 6 + 50, dtype=np.uint32).astype(np.uint8)
    with listener() as there, open_socket(HOST) as here:
        stream = PacedRtpStream(here, there.getsockname(), codes)
        async with sending() as sender:
            sender.add(stream)
            await asyncio.wait_for(stream.done.wait(), 5)
        got = packets(there)
    assert (stream.sent, stream.failed) == (6, 0)
    assert b"".join(packet.payload for packet in got) == codes[: 160 * 6].tobytes()
    assert [packet.sequence - got[0].sequence & 0xFFFF for packet in got] == list(range(6))
    assert [packet.timestamp - got[0].timestamp & 0xFFFFFFFF for packet in got] == [160 * k for k in range(6)]
    assert [packet.marker for packet in got] == [True] + [False] * 5
    assert {packet.payload_type for packet in got} == {0}
    assert len({packet.ssrc for packet in got}) == 1


async def test_streams_are_dealt_out_over_the_phases_and_can_be_taken_back() -> None:
    codes = np.zeros(160 * 1000, np.uint8)
    with listener() as there:
        streams = [PacedRtpStream(open_socket(HOST), there.getsockname(), codes) for _ in range(2 * PHASES)]
        sender = PacedRtpSender()
        for stream in streams:
            sender.add(stream)
        assert [len(phase) for phase in sender._phases] == [2] * PHASES
        for stream in streams:
            sender.remove(stream)
            sender.remove(stream)
            stream.sock.close()
        assert not any(sender._phases)


async def test_server_that_closed_its_port_is_counted_and_stops_nobody() -> None:
    there = listener()
    address = there.getsockname()
    there.close()
    with open_socket(HOST) as here:
        stream = PacedRtpStream(here, address, np.zeros(160 * 5, np.uint8))
        async with sending() as sender:
            sender.add(stream)
            await asyncio.wait_for(stream.done.wait(), 5)
    assert stream.failed > 0
    assert stream.sent + stream.failed == 5


def test_media_ports_are_even() -> None:
    sockets = [open_socket(HOST) for _ in range(8)]
    try:
        assert all(sock.getsockname()[1] % 2 == 0 for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


def test_bundled_call_has_two_tracks_with_their_lines() -> None:
    script = bundled()
    assert [track.name for track in script.tracks] == ["inbound", "outbound"]
    assert all(track.lines and {line.leg for line in track.lines} == {track.name} for track in script.tracks)
    assert [track.name for track in script.only("outbound").tracks] == ["outbound"]


def test_recording_of_any_rate_is_played_at_8_khz(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "call.wav", np.stack([tone, np.zeros_like(tone)], 1), 48_000)
    (tmp_path / "script.json").write_text(
        '[{"leg": "inbound", "role": "customer", "language": "en-US", "text": "Hi", "start": 0.0, "end": 0.5}]'
    )
    script = from_files(tmp_path / "call.wav", tmp_path / "script.json")
    loud, silent = (decode_mulaw(track.codes).astype(float) / 32768 for track in script.tracks)
    assert script.duration_s == pytest.approx(1.0, abs=0.01)
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert np.abs(silent).max() < 0.001
    assert [len(track.lines) for track in script.tracks] == [1, 0]


def test_what_cannot_be_played_is_said_in_one_line(tmp_path: Path) -> None:
    wav, text = tmp_path / "call.wav", tmp_path / "script.json"
    soundfile.write(wav, np.zeros((8000, 3)), 8000)
    with pytest.raises(ConfigError, match="one or two channels"):
        from_files(wav, None)
    soundfile.write(wav, np.zeros((8000, 1)), 8000)
    with pytest.raises(ConfigError, match="no outbound track"):
        from_files(wav, None).only("outbound")
    text.write_text('[{"leg": "nobody"}]')
    with pytest.raises(ConfigError, match="is no script"):
        from_files(wav, text)
    with pytest.raises(ConfigError, match="cannot be read"):
        from_files(wav, tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="cannot be read as audio"):
        from_files(text, None)
    with pytest.raises(ConfigError, match="cannot be read as audio"):
        from_files(tmp_path / "absent.wav", None)
