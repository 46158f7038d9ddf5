"""Where the server's records are read while the calls run: its live API, a JSON lines file, or Kafka
(`kafka_source`).

A source hands records to the tally until it is closed. What is lost on the way (a stream that broke) shows as calls
without an END, never as an exception.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec

from sinks.record import CallStatistics, decode
from supervision import Supervisor, cancel_and_wait
from trunkline.errors import ConfigError
from trunkline.loadtest.tally import RecordTally

logger = logging.getLogger(__name__)

READ_PAUSE_S = 0.1
RETRY_S = 0.5
GRACE_S = 2.0


class RecordSource(Protocol):
    """`title`: for the report."""

    title: str

    async def start(self) -> None:
        """Returns once nothing that comes from here on is missed. Raises `ConfigError`."""

    def follow(self, key: str) -> None:
        """A call is about to be placed."""

    def unfollow(self, key: str) -> None:
        """Its records are all there, or are not waited for any more."""

    async def close(self) -> None: ...


class LiveSource:
    """Server-sent events of the live API. One stream has the life of every call; transcripts come from a stream a
    call, for at most `most` calls at once, so that reading them does not become the load."""

    def __init__(self, url: str, tally: RecordTally, *, token: str | None, most: int) -> None:
        self.title = f"{url}/api/events, transcripts of up to {most} calls at once"
        self._url, self._tally, self._most = url, tally, most
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None
        self.supervisor = Supervisor()
        self._streams: dict[str, asyncio.Task[object]] = {}
        self._list: asyncio.Task[object] | None = None
        self._ready = asyncio.Event()
        self._waiting: set[str] = set()

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=0),
            read_bufsize=1 << 22,
        )
        try:
            async with self._session.get(self._url + "/api/calls") as response:
                if response.status != 200:
                    raise ConfigError(f"{self._url}/api/calls answered with {response.status}: is --token right?")
        except aiohttp.ClientError as error:
            raise ConfigError(f"no live API at {self._url}: name it with --records ({error})") from error
        self._list = self.supervisor.keep(self._read({}, self._on_list), "list of calls")
        await asyncio.wait_for(self._ready.wait(), 10.0)

    def follow(self, key: str) -> None:
        """The stream begins before the call where its id is the key, else when the list of calls shows it."""
        if len(self._streams) < self._most:
            self._waiting.add(key)
            self._open(key, key)

    def unfollow(self, key: str) -> None:
        self._waiting.discard(key)
        stream = self._streams.pop(key, None)
        if stream is not None:
            stream.cancel()

    async def close(self) -> None:
        await cancel_and_wait(self._list, *self._streams.values())
        if self._session is not None:
            await self._session.close()

    def _open(self, key: str, call_id: str) -> None:
        previous = self._streams.get(key)
        if previous is not None:
            previous.cancel()
        self._streams[key] = self.supervisor.keep(self._read({"call_id": call_id}, self._on_call), "records of a call")

    async def _read(self, query: Mapping[str, str], handle: Callable[[str, bytes], None]) -> None:
        assert self._session is not None
        last_id = "0/0"  # every record of the call that the view holds
        while True:
            try:
                headers = {"Last-Event-ID": last_id}
                async with self._session.get(self._url + "/api/events", params=query, headers=headers) as response:
                    response.raise_for_status()
                    kind = ""
                    async for line in response.content:
                        name, _, value = line.rstrip(b"\n").partition(b": ")
                        if name == b"event":
                            kind = value.decode()
                        elif name == b"id":
                            last_id = value.decode()
                        elif name == b"data":
                            handle(kind, value)
            except (aiohttp.ClientError, ValueError) as error:
                logger.debug("event stream broke: %s", error)
            await asyncio.sleep(RETRY_S)

    def _on_call(self, kind: str, data: bytes) -> None:
        if kind == "record":
            self._tally.add(decode(data))

    def _on_list(self, kind: str, data: bytes) -> None:
        if kind == "ready":
            self._ready.set()
        elif kind == "calls":
            for call in msgspec.json.decode(data)["calls"]:
                self._on_summary(call)

    def _on_summary(self, call: Mapping[str, Any]) -> None:
        """One call of the list: which of ours it is, and its statistics once it has ended."""
        marks = (*call["metadata"].values(), call["from"], call["to"])
        key = self._tally.claim(call["call_id"], marks)
        if key is None:
            return
        if key in self._waiting and key != call["call_id"]:
            self._waiting.discard(key)
            self._open(key, call["call_id"])
        if call["status"] == "ended":
            statistics = call["statistics"]
            parsed = None if statistics is None else msgspec.convert(statistics, CallStatistics)
            # The last words of a call that is followed come on its own stream, which has the end after them.
            delay = GRACE_S if key in self._streams else 0.0
            asyncio.get_running_loop().call_later(delay, self._tally.end, key, parsed, call["reason"])


class FileSource:
    """The server's JSON lines file on this machine, from its present end on."""

    def __init__(self, path: Path, tally: RecordTally) -> None:
        self.title = str(path)
        self._path, self._tally = path, tally
        self._offset = 0
        self._partial_line = b""
        self.supervisor = Supervisor()
        self._reading: asyncio.Task[object] | None = None

    async def start(self) -> None:
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self._reading = self.supervisor.keep(self._run(), "file of records")

    def follow(self, key: str) -> None: ...

    def unfollow(self, key: str) -> None: ...

    async def close(self) -> None:
        await cancel_and_wait(self._reading)

    async def _run(self) -> None:
        while True:
            if self._path.exists():
                for line in self._new_lines():
                    add_line(self._tally, line)
            await asyncio.sleep(READ_PAUSE_S)

    def _new_lines(self) -> list[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(1 << 24)
        self._offset += len(data)
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        return lines


def add_line(tally: RecordTally, data: bytes) -> None:
    """One record as the sinks write it; what is none belongs to somebody else."""
    try:
        record = decode(data)
    except msgspec.DecodeError:
        return
    tally.add(record)
