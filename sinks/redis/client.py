"""One Redis by its URL: a server, the primary that sentinels name, or a cluster; and what went wrong, in one line.

Commands are given as tuples and go out together; each is answered or failed by itself. Nothing is repeated here but
what is certain not to have been done: a command that a cluster redirects, a script that the server does not know.
"""

import hashlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
)

from sinks.addresses import redis_hosts, redis_parts
from sinks.config import RedisConfig
from sinks.errors import SinkMisconfigured, SinkUnavailable

Command = tuple[str | bytes | int, ...]

WRITE, CHECK = "write.lua", "check.lua"
HEALTH_CHECK_S = 10
IDLE_S = 2.0
"""A subscription that is silent for so long is asked whether it is still there."""

_FAILURES = (RedisError, RedisClusterException, OSError)
_PORTS = {"cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class _Script:
    source: str
    sha: str


def _script(name: str) -> _Script:
    source = files("sinks.redis").joinpath(name).read_text(encoding="utf-8")
    return _Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class RedisClient:
    """Connects with the first command; a lost connection is made anew by the next one. Raises `SinkMisconfigured` for
    files that cannot be.

    `where`: the address, for people, without user and password.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._timeout_s = config.timeout_s
        self._secrets = [secret for secret in (_password(config.url), config.sentinel_password) if secret]
        self._scripts = {name: _script(name) for name in (WRITE, CHECK)}
        self._sentinel: Sentinel | None = None
        parts = redis_parts(config.url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        kind = parts.scheme.partition("+")[2]
        settings: dict[str, Any] = {
            "socket_timeout": config.timeout_s,
            "socket_connect_timeout": config.timeout_s,
            "health_check_interval": HEALTH_CHECK_S,
            "retry": Retry(NoBackoff(), 0),
            **_tls(config, tls=parts.scheme.startswith("rediss")),
        }
        self._client: Redis | RedisCluster
        if not kind:
            settings.pop("ssl", None)  # the URL says so
            try:
                self._client = Redis.from_url(config.url, **settings)
            except (ValueError, TypeError) as error:  # which may quote the password
                raise SinkMisconfigured(f"redis url: {self.where}: a port, path or option in it is none") from error
            return
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        settings |= {"username": unquote(user) or None, "password": unquote(password) or None}
        hosts = redis_hosts(parts.netloc, _PORTS[kind])
        if kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in hosts]
            self._client = RedisCluster(startup_nodes=nodes, **settings)
            return
        service, _, database = parts.path.strip("/").partition("/")
        asking = {name: value for name, value in settings.items() if name not in ("username", "password")}
        asking |= {"username": config.sentinel_username, "password": config.sentinel_password}
        self._sentinel = Sentinel(hosts, sentinel_kwargs=asking, **settings)  # type: ignore[no-untyped-call]
        self._client = self._sentinel.master_for(service, db=int(database or 0))

    def script(self, name: str, keys: Sequence[str], *args: str | bytes | int) -> Command:
        """The command that runs one of the scripts here."""
        return ("EVALSHA", self._scripts[name].sha, len(keys), *keys, *args)

    async def execute(self, commands: Sequence[Command], *, transaction: bool = False) -> list[Any]:
        """Answers in order; what a command failed with stands in the place of its answer. Raises `SinkUnavailable`.
        `transaction`: all at one moment; their keys share a slot."""
        try:
            answers = await self._send(commands, transaction=transaction)
            unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                for script in self._scripts.values():
                    await self._client.script_load(script.source)
                again = await self._send([commands[i] for i in unknown])
                for i, answer in zip(unknown, again, strict=True):
                    answers[i] = answer
        except _FAILURES as error:
            await self._renew()
            raise SinkUnavailable(self.describe(error)) from error
        if any(isinstance(answer, Exception) for answer in answers):
            await self._renew()
        return answers

    async def require(self, *commands: Command, transaction: bool = False) -> list[Any]:
        """Answers in order. Raises `SinkUnavailable`, also where one of the commands failed."""
        answers = await self.execute(commands, transaction=transaction)
        for answer in answers:
            if isinstance(answer, Exception):
                raise SinkUnavailable(self.describe(answer)) from answer
        return answers

    async def _send(self, commands: Sequence[Command], *, transaction: bool = False) -> list[Any]:
        pipeline = self._client.pipeline(transaction=transaction)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))

    async def _renew(self) -> None:
        """After a failure: a cluster is asked for its nodes anew, also those of the URL, which may have new addresses
        by now."""
        if isinstance(self._client, RedisCluster):
            with suppress(*_FAILURES):
                await self._client.aclose()
            nodes = self._client.nodes_manager
            nodes.set_nodes(nodes.startup_nodes, {node.name: node for node in self._client.startup_nodes})

    @asynccontextmanager
    async def listening(self, channel: str, *, pattern: bool) -> "AsyncIterator[Listener]":
        """Messages from entering on: the server has confirmed. Entering raises `SinkUnavailable`."""
        pubsub = self._client.pubsub()
        try:
            try:
                if isinstance(self._client, RedisCluster):
                    await self._client.initialize()  # a subscription alone does not
                await (pubsub.psubscribe(channel) if pattern else pubsub.subscribe(channel))
                if await pubsub.get_message(timeout=self._timeout_s) is None:
                    raise TimeoutError("no answer")
            except _FAILURES as error:
                await self._renew()
                raise SinkUnavailable(self.describe(error)) from error
            yield Listener(self, pubsub, self._timeout_s)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    def describe(self, error: BaseException) -> str:
        """Where, and what went wrong, in one line without secrets."""
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, AuthenticationError):
            text = f"user name or password are refused: {text}"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{self.where}: {text}"


def is_forbidden(error: SinkUnavailable) -> bool:
    """Whether the user's rights do not allow the command."""
    return isinstance(error.__cause__, NoPermissionError)


class Listener:
    """A subscription. Lost is lost: it does not connect again, as messages would be missing unnoticed."""

    def __init__(self, client: RedisClient, pubsub: "PubSub", timeout_s: float) -> None:
        self._client = client
        self._pubsub = pubsub
        self._timeout_s = timeout_s

    async def next(self) -> bytes:
        """The next message. Raises `SinkUnavailable` where the connection is lost, or the server silent when asked."""
        try:
            while True:
                message = await self._pubsub.get_message(timeout=IDLE_S)
                if message is None:
                    await self._pubsub.ping()
                    message = await self._pubsub.get_message(timeout=self._timeout_s)
                    if message is None:
                        raise TimeoutError("no answer")
                if message["type"] in ("message", "pmessage"):
                    data: bytes = message["data"]
                    return data
        except _FAILURES as error:
            raise SinkUnavailable(self._client.describe(error)) from error


def _password(url: str) -> str | None:
    return unquote(urlsplit(url).netloc.rpartition("@")[0].partition(":")[2]) or None


def _tls(config: RedisConfig, *, tls: bool) -> dict[str, Any]:
    given = (config.tls_ca_file, config.tls_cert, config.tls_key)
    if not tls:
        return {}
    try:
        context = ssl.create_default_context(cafile=config.tls_ca_file)
        if config.tls_cert is not None:
            context.load_cert_chain(config.tls_cert, config.tls_key)
    except OSError as error:  # ssl.SSLError is one
        names = ", ".join(file for file in given if file)
        raise SinkMisconfigured(f"redis: of tls_ca_file, tls_cert, tls_key ({names}): {error}") from error
    return {
        "ssl": True,
        "ssl_ca_certs": config.tls_ca_file,
        "ssl_certfile": config.tls_cert,
        "ssl_keyfile": config.tls_key,
    }
