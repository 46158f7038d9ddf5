"""Calls placed by sipp, a SIP implementation that is not ours, by the scenarios in `sipp/`."""

import asyncio
import shutil
from pathlib import Path

import pytest

from connectors.sip import Credential
from connectors.sip.inspection import ALLOW
from sinks.record import CallAction, SpeakerRole
from testing.services.ports import free_ports
from tests.connectors.sip.stage import LOOPBACK, Stage, changed, stage
from tests.pipeline.scripted import script, words
from tests.services.missing import missing

SCENARIOS = Path(__file__).parent / "sipp"
START, HOLD, RESUME, END = (
    CallAction.START,
    CallAction.HOLD,
    CallAction.RESUME,
    CallAction.END,
)


@pytest.fixture
def sipp() -> str:
    path = shutil.which("sipp")
    if path is None:
        missing("sipp is not installed: apt-get install sip-tester")
    return path


def ports() -> tuple[int, int, int]:
    """For SIP, for two streams from an even one on, and for sipp's remote control."""
    while True:
        local, media, control = free_ports(3)
        media &= ~1
        if not {local, control} & set(range(media, media + 4)):
            return local, media, control


async def run(sipp: str, server: Stage, scenario: str, folder: Path, *, calls: int = 1, transport: str = "u1") -> None:
    """Place calls by a scenario; fails with what sipp says."""
    host, port = server.connector.addresses["UDP" if transport.startswith("u") else "TCP"]
    local, media, control = ports()
    command = [sipp, f"{host}:{port}", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-t", transport]
    command += ["-i", LOOPBACK, "-p", str(local), "-mi", LOOPBACK, "-mp", str(media), "-cp", str(control)]
    command += ["-m", str(calls), "-l", str(calls), "-r", str(calls), "-nostdin", "-timeout", "20", "-timeout_error"]
    command += ["-trace_err", "-error_file", str(folder / "errors.log")]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        log = folder / "errors.log"
        pytest.fail(f"sipp: {process.returncode}\n{said.decode()}\n{log.read_text() if log.exists() else ''}")


async def test_call_with_audio(sipp: str, tmp_path: Path) -> None:
    (tmp_path / "said.ulaw").write_bytes(b"\xff" * 16_000)
    async with stage(changed(), script(words("hello from sipp"))) as server:
        await run(sipp, server, "basic", tmp_path)
        (end,) = await server.ended()
        assert (end.reason, end.from_, end.to) == ("completed", "+15550100", "+15550199")
        assert end.metadata["X-Queue"] == "billing"
        assert end.metadata["User-to-User"] == "00abcd;encoding=hex"
        assert end.statistics is not None
        assert end.statistics.packets >= 95
        assert end.statistics.lost == 0
        assert "".join(one.transcript for one in server.finals()) == "hello from sipp"


async def test_many_calls_at_once_over_tcp(sipp: str, tmp_path: Path) -> None:
    async with stage(changed(tcp=f"{LOOPBACK}:0")) as server:
        await run(sipp, server, "late_offer", tmp_path, calls=10, transport="t1")
        assert {end.reason for end in await server.ended(10)} == {"completed"}


async def test_credentials(sipp: str, tmp_path: Path) -> None:
    # sipp reads the first challenge only, and knows MD5.
    right, wrong = (
        changed(credentials=(Credential(username="alice", password=password),), digest_algorithms=("MD5",))
        for password in ("secret", "other")
    )
    async with stage(right) as server:
        await run(sipp, server, "digest", tmp_path)
        await server.ended()
    async with stage(wrong) as server:
        await run(sipp, server, "digest_refused", tmp_path)
        assert server.connector.uas.stats.refused == {401: 2}
        assert server.records == []


async def test_late_offer(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "late_offer", tmp_path, calls=3)
        assert len(await server.ended(3)) == 3


async def test_hold_and_resume(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "hold_resume", tmp_path)
        await server.ended()
        assert server.actions() == [START, HOLD, RESUME, HOLD, RESUME, HOLD, RESUME, END]


async def test_session_refresh(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "session_refresh", tmp_path)
        await server.ended()
        assert server.connector.uas.stats.refused == {422: 1}


async def test_cancel(sipp: str, tmp_path: Path) -> None:
    async with stage(changed(ring=True)) as server:
        await run(sipp, server, "cancel", tmp_path)
        (end,) = await server.ended()
        assert end.reason == "cancelled"


async def test_reliable_ringing(sipp: str, tmp_path: Path) -> None:
    async with stage(changed(ring=True)) as server:
        await run(sipp, server, "reliable_ringing", tmp_path)
        (end,) = await server.ended()
        assert end.reason == "completed"


async def test_retransmitted_invite_is_one_call(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "retransmitted_invite", tmp_path)
        await server.ended()
        assert server.actions() == [START, END]
        assert server.connector.uas.transactions.stats.retransmissions == 2


async def test_lost_acks(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "lost_ack", tmp_path)
        (end,) = await server.ended()
        assert end.reason == "completed"
        assert server.connector.uas.transactions.stats.repeated >= 2


async def test_unknown_methods(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "unknown_method", tmp_path)
        assert server.connector.uas.stats.refused == {501: 1, 405: 1, 603: 1}
        assert "REFER" not in ALLOW


async def test_no_room(sipp: str, tmp_path: Path) -> None:
    async with stage(max_sessions=0) as server:
        await run(sipp, server, "busy", tmp_path, calls=3)
        assert server.connector.uas.stats.refused == {503: 3}
        assert server.records == []


async def test_recording_of_two_streams_with_updates(sipp: str, tmp_path: Path) -> None:
    async with stage() as server:
        await run(sipp, server, "siprec", tmp_path)
        (end,) = await server.ended()
        assert (end.connector, end.reason) == ("siprec", "completed")
        assert [(leg.leg, leg.speaker_role) for leg in end.legs] == [
            ("96", SpeakerRole.CUSTOMER),
            ("97", SpeakerRole.AGENT),
        ]
        told = [record.metadata.get("leg.97.name") for record in server.call_records()]
        assert [name for name in dict.fromkeys(told) if name] == ["Alice", "Bob"]
        assert end.metadata["leg.96.number"] == "+15550100"
        assert end.metadata["leg.97.number"] == "bob"
        assert [action for action in server.actions() if action in (HOLD, RESUME)] == [HOLD, RESUME]


def test_scenarios_are_all_used() -> None:
    text = Path(__file__).read_text("utf-8")
    assert all(f'"{path.stem}"' in text for path in SCENARIOS.glob("*.xml"))
