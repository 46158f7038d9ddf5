import asyncio
import gc

import pytest
import uvloop

from trunkline.loop import FULL_COLLECTION_EVERY, run


def test_work_runs_on_uvloop_with_rare_full_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds: list[tuple[int, int, int]] = []
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *levels: thresholds.append(levels))

    async def work() -> object:
        return asyncio.get_running_loop()

    assert isinstance(run(work()), uvloop.Loop)
    assert thresholds == [(*gc.get_threshold()[:2], FULL_COLLECTION_EVERY)]
