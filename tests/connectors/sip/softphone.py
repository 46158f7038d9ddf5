"""baresip, a telephone that is not ours: it plays a file, and writes down what it hears."""

import contextlib
import shutil
import socket
import subprocess
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.services.missing import missing

MODULES = ("g711", "g722", "opus", "aufile", "aubridge", "sndfile", "srtp")
RATES = {"PCMU/8000/1": (8_000, 1), "PCMA/8000/1": (8_000, 1), "G722/16000/1": (16_000, 1), "opus/48000/2": (48_000, 2)}


def program() -> str:
    """Its path."""
    path = shutil.which("baresip")
    if path is None:
        missing("baresip is not installed: apt-get install baresip-core")
    return path


def own_address() -> str:
    """Of a network interface of this machine: baresip does not use the loopback one."""
    for word in subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split():
        with contextlib.suppress(OSError):
            socket.inet_pton(socket.AF_INET, word)
            return word
    missing("this machine has no network interface with an IPv4 address")


def configure(folder: Path, codec: str, encryption: str, address: str, said: NDArray[np.int16]) -> None:
    """`said`: mono, at the rate of the codec; the call ends with it."""
    rate, channels = RATES[codec]
    with wave.open(str(folder / "said.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(said.astype("<i2"), channels).tobytes())
    modules = next(path.parent for path in Path("/usr/lib").glob("**/baresip/modules/g711.so"))
    lines = ["poll_method epoll", "sip_verify_server no", f"module_path {modules}"]
    lines += [f"audio_source aufile,{folder}/said.wav", "audio_player aubridge,heard", f"snd_path {folder}"]
    lines += [f"module {name}.so" for name in MODULES]
    lines += ["module_tmp account.so", "module_app menu.so"]
    (folder / "config").write_text("\n".join(lines) + "\n")
    (folder / "accounts").write_text(f"<sip:test@{address}>;regint=0;audio_codecs={codec}{encryption}\n")
    (folder / "contacts").write_text("")


def dumped(folder: Path) -> tuple[NDArray[np.float64], int]:
    """What baresip has heard, and its rate."""
    with wave.open(str(next(folder.glob("dump-*dec.wav")))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples[:: file.getnchannels()].astype(float), file.getframerate()
