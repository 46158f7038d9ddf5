"""The telephones of a benchmark, started in a process of their own."""

import asyncio
import sys
from pathlib import Path


async def start_telephones() -> tuple[asyncio.subprocess.Process, asyncio.StreamWriter, asyncio.StreamReader, int]:
    """The process, its input and output, and the port that they speak from."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.telephones"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
        limit=1 << 28,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process, process.stdin, process.stdout, int(await process.stdout.readline())
