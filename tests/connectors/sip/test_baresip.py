"""Calls by baresip, a telephone that is not ours: every codec, SRTP, TCP and TLS; it hangs up when its file is over."""

import asyncio
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.sip import SipConfig
from tests.connectors.sip.softphone import RATES, configure, dumped, own_address, program
from tests.connectors.sip.stage import Stage, changed, stage
from tests.pipeline.scripted import script, words

SAID_S = 1.5


@pytest.fixture(scope="module")
def baresip() -> str:
    return program()


@pytest.fixture(scope="module")
def address() -> str:
    return own_address()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, address: str) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={address}"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def tone(codec: str) -> NDArray[np.int16]:
    rate, _ = RATES[codec]
    return (np.sin(np.arange(round(SAID_S * rate)) * 2 * np.pi * 440 / rate) * 8_000).astype(np.int16)


async def call(baresip: str, server: Stage, folder: Path, transport: str) -> None:
    host, port = server.connector.addresses[transport]
    to = f"sip:line@{host}:{port};transport={transport.lower()}"
    process = await asyncio.create_subprocess_exec(
        *(baresip, "-f", str(folder), "-e", f"/dial {to}", "-t", "10"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await server.ended()
    except TimeoutError:
        process.kill()
        said, _ = await process.communicate()
        pytest.fail(said.decode(errors="replace"))
    process.kill()
    await process.communicate()


def listening(address: str, transport: str, certificate: tuple[str, str]) -> SipConfig:
    listen: dict[str, str | None] = {"udp": None, "tcp": None, transport.lower(): f"{address}:0"}
    return changed(tls_cert=certificate[0], tls_key=certificate[1], **listen)


@pytest.mark.parametrize(
    ("codec", "transport", "encryption"),
    [
        ("PCMU/8000/1", "UDP", ""),
        ("PCMA/8000/1", "UDP", ""),
        ("G722/16000/1", "UDP", ""),
        ("opus/48000/2", "UDP", ""),
        ("PCMU/8000/1", "TCP", ""),
        ("PCMA/8000/1", "TLS", ";mediaenc=srtp-mand"),
        ("PCMU/8000/1", "UDP", ";mediaenc=srtp"),
    ],
)
async def test_call_is_heard_to_its_last_word(
    baresip: str,
    address: str,
    certificate: tuple[str, str],
    tmp_path: Path,
    codec: str,
    transport: str,
    encryption: str,
) -> None:
    configure(tmp_path, codec, encryption, address, tone(codec))
    said = script(words("one two three four"))
    async with stage(listening(address, transport, certificate), said) as server:
        await call(baresip, server, tmp_path, transport)
        (end,) = await server.ended()
        assert end.reason == "completed"
        assert end.statistics is not None
        assert end.statistics.packets >= SAID_S * 50 - 5
        assert end.statistics.lost == 0
        heard = server.recognizer.running[0].audio()
        assert np.abs(heard).max() > 0.1
        halves = heard[: heard.size // 8_000 * 8_000].reshape(-1, 8_000)
        spectrum = np.abs(np.fft.rfft(max(halves, key=lambda half: float(np.abs(half).mean()))))
        assert abs(int(spectrum.argmax()) * 2 - 440) <= 4  # the tone itself, so the codec was the right one
        assert "".join(one.transcript for one in server.finals()) == "one two three four"


@pytest.mark.parametrize(
    ("codec", "encryption"),
    [("PCMU/8000/1", ""), ("PCMA/8000/1", ";mediaenc=srtp"), ("G722/16000/1", ""), ("opus/48000/2", "")],
)
async def test_what_is_played_is_heard(
    baresip: str, address: str, certificate: tuple[str, str], tmp_path: Path, codec: str, encryption: str
) -> None:
    configure(tmp_path, codec, encryption, address, tone(codec))
    spoken = np.sin(np.arange(16_000) * 2 * np.pi * 880 / 16_000) * 8_000
    async with stage(listening(address, "UDP", certificate)) as server:
        calling = asyncio.create_task(call(baresip, server, tmp_path, "UDP"))
        await server.until(server.call_records)
        running = server.calls.get(server.call_records()[0].call_id)
        assert running is not None
        said = running.play("caller", spoken.astype(np.int16), 16_000)
        assert (await asyncio.wait_for(said.wait(), 10)).seconds == 1.0
        await calling
    heard, rate = dumped(tmp_path)
    loud = np.flatnonzero(np.abs(heard) > 4_000)
    assert loud[-1] - loud[0] >= 0.85 * rate  # its jitter buffer keeps the last 100 ms
    middle = heard[loud[0] : loud[-1]][rate // 4 : 3 * rate // 4]
    assert abs(int(np.abs(np.fft.rfft(middle)).argmax()) * 2 - 880) <= 4
