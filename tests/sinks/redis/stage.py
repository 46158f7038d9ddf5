"""The Redis live view beside the truth: whatever is written goes to the sink and to the in-process live view."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis

from sinks.config import RedisConfig
from sinks.errors import ViewUnavailable
from sinks.live import LiveView
from sinks.record import AnyRecord
from sinks.redis.sink import RedisSink
from sinks.redis.view import RedisView
from testing.services.missing import ServiceMissing
from testing.services.redis_server import RedisCluster, RedisServer
from tests.services.missing import missing
from tests.sinks.records import dtmf, start, transcript
from tests.sinks.waiting import until

OPERATING = Path(__file__).parents[3] / "docs" / "operating.md"
Service = TypeVar("Service", RedisServer, RedisCluster)


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """Started, and removed in the end."""
    try:
        service.start()
    except ServiceMissing as error:
        missing(str(error))
    try:
        yield service
    finally:
        service.remove()


class Stage:
    def __init__(self, config: RedisConfig) -> None:
        self.config = config
        self.sink, self.view, self.truth = RedisSink(config), RedisView(config), LiveView()
        self.call_ids: dict[str, None] = {}

    async def write(self, *records: AnyRecord) -> None:
        self.call_ids |= dict.fromkeys(record.call_id for record in records)
        await self.sink.write(records)
        await self.truth.write(records)

    async def a_few_calls(self) -> None:
        for i in range(12):  # in a cluster on all nodes
            call_id = f"call-{i}"
            await self.write(start(call_id, at=f"2026-11-24T12:00:{i:02}.000Z"), dtmf("1", call_id=call_id))
            await self.write(transcript("One.", final=True, call_id=call_id), transcript("tw", 1, call_id=call_id))

    async def more_of_each(self, revision: int) -> None:
        for call_id in self.call_ids:
            await self.write(transcript(f"revision {revision}", 1, revision, call_id=call_id))
            await self.write(transcript("And.", 1 + revision, final=True, call_id=call_id))

    async def is_true(self) -> bool:
        """Whether a screen that reads Redis now sees what one in the process sees."""
        try:
            if await self.view.calls() != await self.truth.calls():
                return False
            return all([await self.view.snapshot(one) == await self.truth.snapshot(one) for one in self.call_ids])
        except ViewUnavailable:
            return False

    async def becomes_true(self) -> None:
        await until(self.is_true)
        await until(lambda: self.sink.current)


@asynccontextmanager
async def stage(url: str, **settings: Any) -> AsyncIterator[Stage]:
    """Started, with a key prefix of its own, and short times."""
    usual: dict[str, Any] = {"heartbeat_s": 0.1, "timeout_s": 2.0, "key_prefix": f"test-{uuid.uuid4()}:"}
    running = Stage(RedisConfig(url=url, **(usual | settings)))
    await running.sink.start()
    try:
        yield running
    finally:
        await running.sink.close()
        await running.view.close()
        await running.truth.close()


async def stream(client: "Redis", prefix: str, call_id: str = "CA1") -> list[AnyRecord]:
    """A call's entries."""
    entries: Any = await client.xrange(f"{prefix}events:{{{call_id}}}")
    return [msgspec.json.decode(fields["record"], type=AnyRecord) for _, fields in entries]


def certificate(folder: Path, *, expired: bool = False) -> tuple[Path, Path]:
    """One for 127.0.0.1 that signs itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    until_when = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(until_when - timedelta(days=3)).not_valid_after(until_when)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(private, SHA256())
    cert.write_bytes(signed.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, key


def documented_users(password: str) -> list[str]:
    """Of the documentation, as lines of an ACL file: that of the server, that of a page."""
    lines = re.findall(r"^user .*$", OPERATING.read_text("utf-8"), re.MULTILINE)
    assert len(lines) == 2
    return [line.replace("PASSWORD", password) for line in lines]


async def cli(server: RedisServer, *arguments: str) -> str:
    return await asyncio.to_thread(server.cli, *arguments)
