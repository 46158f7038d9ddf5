"""One receiver by HTTP: a request, and what its answer means. The only module of the sinks that loads an HTTP client.

Redirects are not followed: the signed body is for the receiver that was configured, and no answer leads the server to
another address, such as one of its own network.
"""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import urlsplit

import aiohttp

from sinks.errors import SinkMisconfigured
from sinks.message import Message
from sinks.webhooks.config import WebhookConfig
from sinks.webhooks.signature import signature

Session = aiohttp.ClientSession

KEEP_ALIVE_S = 4.0
"""How long a connection without a request is kept: less than receivers do (Node has 5 s), who would cut it just when
the next request comes."""

ANSWER_BYTES = 65_536
"""Of an answer's body that are read, to use the connection again; a longer one costs the connection."""

CONCERNS_RECEIVER = frozenset({401, 403, 404, 407, 408, 409, 421, 423, 425, 429})
"""Refusals that a deployment, a token or a little time mends; all other 4xx are about the record."""


class Verdict(Enum):
    TAKEN = "taken"
    AGAIN = "again"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of an attempt. `why`: in a few words, without anything secret."""

    verdict: Verdict
    why: str = ""
    retry_after_s: float = 0.0


def outcome(status: int, retry_after: str | None, now: float) -> Outcome:
    """What an answer means. `retry_after`: its header (RFC 9110, section 10.2.3); `now`: seconds since the epoch."""
    why = f"HTTP {status}"
    if 200 <= status < 300:
        return Outcome(Verdict.TAKEN, why)
    if 400 <= status < 500 and status not in CONCERNS_RECEIVER:
        return Outcome(Verdict.REFUSED, why)
    if 300 <= status < 400:
        why += ", a redirect, which is not followed: correct the url"
    return Outcome(Verdict.AGAIN, why, _seconds(retry_after, now))


@dataclass(frozen=True, slots=True)
class Reached:
    """`why_not`: None where it took a connection. `certificate_ends_at`: its own, seconds since the epoch; None without
    TLS."""

    why_not: str | None = None
    certificate_ends_at: float | None = None


class Endpoint:
    """For the event loop of one thread. Raises `SinkMisconfigured` for a file of authorities that cannot be used."""

    def __init__(self, config: WebhookConfig, key: bytes) -> None:
        self.name, self.host = config.name, config.host
        self.at_once = config.at_once
        self._config, self._key = config, key
        self.is_encrypted = urlsplit(config.url).scheme == "https"
        self._tls = _tls(config) if self.is_encrypted else None

    def session(self) -> Session:
        """The connections to it. Neither proxies nor passwords are taken from the environment."""
        return Session(
            connector=aiohttp.TCPConnector(limit=self.at_once, ssl=self._tls or True, keepalive_timeout=KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s),
            headers=self._config.headers,
            auto_decompress=False,
        )

    async def post(self, session: Session, message: Message) -> Outcome:
        """Send a record, signed for this moment."""
        event_id = dict(message.headers)["event_id"].decode()
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Trunkline",
            "Idempotency-Key": event_id,
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, event_id, now, message.value),
        }
        try:
            async with session.post(
                self._config.url, data=message.value, headers=headers, allow_redirects=False
            ) as answer:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):  # the status has come
                    await _read_out(answer)
                return outcome(answer.status, answer.headers.get("Retry-After"), now)
        except TimeoutError:
            return Outcome(Verdict.AGAIN, f"no answer within {self._config.timeout_s:g} s")
        except aiohttp.ClientResponseError as error:  # its text has the URL
            return Outcome(Verdict.AGAIN, f"its answer is no HTTP: {' '.join(error.message.split())[:100]}")
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(Verdict.AGAIN, _one_line(error))

    async def reach(self) -> Reached:
        """Connect, and see its certificate; nothing is sent."""
        parts = urlsplit(self._config.url)
        port = parts.port or (443 if self.is_encrypted else 80)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                _, writer = await asyncio.open_connection(parts.hostname, port, ssl=self._tls)
        except TimeoutError:
            return Reached(f"no connection within {self._config.timeout_s:g} s")
        except ssl.SSLCertVerificationError as error:
            return Reached(f"its certificate is not accepted: {error.verify_message}")
        except (OSError, ValueError) as error:
            return Reached(_one_line(error))
        certificate = writer.get_extra_info("peercert")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return Reached(certificate_ends_at=ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None)


def is_loopback(host: str) -> bool:
    """Of a receiver on this machine, as the URL has it."""
    return host.startswith(("localhost", "127.", "[::1]"))


async def _read_out(answer: aiohttp.ClientResponse) -> None:
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES:
            answer.close()
            return


def _seconds(retry_after: str | None, now: float) -> float:
    """Of a Retry-After: a number or a date; 0 for none and for what cannot be read."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isascii() and retry_after.strip().isdigit():
        return float(min(int(retry_after.strip()[:9]), 10**8))
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return 0.0


def _tls(config: WebhookConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.tls_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SinkMisconfigured(
            f"[webhooks] {config.name}: tls_ca_file = {config.tls_ca_file!r}: {_one_line(error)}: name a file of"
            " certificates in PEM"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
