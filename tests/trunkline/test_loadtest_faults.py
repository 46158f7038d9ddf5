"""A load test of which a part has failed says so instead of reporting figures."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from supervision import Supervisor
from trunkline.errors import LoadTestBroken
from trunkline.loadtest.outcome import CallOutcome
from trunkline.loadtest.plan import Plan
from trunkline.loadtest.report import Thresholds
from trunkline.loadtest.run import LoadTest
from trunkline.loadtest.sources import FileSource
from trunkline.loadtest.tally import RecordTally


class Caller:
    """Places calls that are never over."""

    kind = "none"
    setup = "none"
    tracks: tuple[str, ...] = ("inbound",)

    def __init__(self) -> None:
        self.supervisor = Supervisor()

    async def start(self) -> None:
        async def fail() -> None:
            raise RuntimeError("boom")

        self.supervisor.keep(fail(), "RTP of the load test")

    def new_key(self) -> str:
        return "key"

    async def call(self, key: str, play_s: float) -> CallOutcome:
        await asyncio.Event().wait()
        return CallOutcome(key)

    async def close(self) -> None: ...


async def test_what_sends_and_has_ended_ends_the_test() -> None:
    tally = RecordTally.__new__(RecordTally)  # of which nothing is asked
    tally._calls = {}
    test = LoadTest(Plan(1, 10.0, 60.0, 60.0), Caller(), tally, None)
    with pytest.raises(LoadTestBroken, match="RTP of the load test: RuntimeError: boom"):
        await test.run(Thresholds())


async def test_a_file_that_can_no_longer_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.jsonl"
    path.touch()
    source = FileSource(path, RecordTally.__new__(RecordTally))

    def fail() -> list[bytes]:
        raise OSError("boom")

    monkeypatch.setattr(source, "_new_lines", fail)
    await source.start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not source.supervisor.failures:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.01)
    assert source.supervisor.failures == {"file of records": "OSError: boom"}
    await source.close()
