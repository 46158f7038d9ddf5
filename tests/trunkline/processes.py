"""`trunkline serve` in processes of their own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from testing.services.ports import free_ports

CONFIG = """
[server]
port = {port}
drain_s = 600.0
[engine]
process = "{process}"
max_sessions = 4
admission = false
"""

Process = asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def serving(folder: Path, process: str = "in-process", before: str = "") -> AsyncIterator[tuple[Process, str]]:
    """A server in a folder, and its address. `before`: Python that it runs first."""
    (port,) = free_ports(1)
    (folder / "trunkline.toml").write_text(CONFIG.format(port=port, process=process))
    program = f"import sys; from trunkline.cli import main\n{before}\nsys.exit(main(['serve']))"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=folder, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        await said(server, "ready: page at")
        yield server, f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        await server.communicate()


async def said(server: Process, text: str) -> str:
    """The next line of the log with this text."""
    assert server.stderr is not None
    async with asyncio.timeout(120):
        while line := (await server.stderr.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"the process ended before it said {text!r}")
