"""One receiver by HTTP: what answers mean, certificates, signatures."""

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sinks.errors import SinkMisconfigured
from sinks.message import Message
from sinks.record import encode
from sinks.webhooks.config import WebhookConfig
from sinks.webhooks.endpoint import Endpoint, Outcome, Verdict, outcome
from sinks.webhooks.signature import signing_key
from tests.sinks.records import start
from tests.sinks.webhooks.receiver import SECRET, Receiver

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204), Verdict.TAKEN),
        ((301, 302, 307, 308, 304), Verdict.AGAIN),
        ((401, 403, 404, 408, 409, 425, 429), Verdict.AGAIN),
        ((500, 502, 503, 504, 599), Verdict.AGAIN),
        ((400, 405, 410, 413, 415, 422), Verdict.REFUSED),
    ],
)
def test_what_an_answer_means(statuses: tuple[int, ...], verdict: Verdict) -> None:
    for status in statuses:
        found = outcome(status, None, 0.0)
        assert (found.verdict, found.why.partition(",")[0]) == (verdict, f"HTTP {status}")


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, 0.0),
        ("30", 30.0),
        (" 7 ", 7.0),
        (format_datetime(NOW.replace(minute=2), usegmt=True), 120.0),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("²", 0.0),
        ("9" * 5000, 1e8),
        ("Thu, 99 Nov 2026 12:00:00 GMT", 0.0),
    ],
)
def test_what_is_asked_for_is_read_or_ignored(retry_after: str | None, seconds: float) -> None:
    assert outcome(503, retry_after, NOW.timestamp()).retry_after_s == seconds


def certificate(folder: Path, begins: timedelta, ends: timedelta) -> tuple[Path, ssl.SSLContext]:
    """Of localhost, signed by itself, valid between two times as seen from now; and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now + begins, now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


def endpoint(url: str, ca: Path | None = None) -> Endpoint:
    config = WebhookConfig(name="a", url=url, secret=SECRET, tls_ca_file=None if ca is None else str(ca))
    return Endpoint(config, signing_key(SECRET))


def message() -> Message:
    record = start()
    return Message("a", b"CA1", encode(record), (("event_id", record.event_id.encode()),))


async def test_a_receiver_of_a_known_authority_is_believed_and_no_other(tmp_path: Path) -> None:
    authority, context = certificate(tmp_path, -DAY, DAY)
    async with Receiver().running(ssl=context) as receiver:
        known, unknown = endpoint(receiver.url, authority), endpoint(receiver.url)
        reached = await known.reach()
        assert reached.why_not is None
        assert reached.certificate_ends_at is not None
        assert abs(reached.certificate_ends_at - time.time() - DAY.total_seconds()) < 600
        assert (await unknown.reach()).why_not == "its certificate is not accepted: self-signed certificate"
        async with known.session() as session:
            assert await known.post(session, message()) == Outcome(Verdict.TAKEN, "HTTP 200")
        async with unknown.session() as session:
            found = await unknown.post(session, message())
        assert found.verdict is Verdict.AGAIN
        assert "certificate verify failed" in found.why
        assert len(receiver.seen) == 1


async def test_an_expired_certificate_is_told_by_its_name(tmp_path: Path) -> None:
    authority, context = certificate(tmp_path, -2 * DAY, -DAY)
    async with Receiver().running(ssl=context) as receiver:
        found = await endpoint(receiver.url, authority).reach()
    assert found.why_not == "its certificate is not accepted: certificate has expired"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_used_are_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SinkMisconfigured, match=rf"\[webhooks\] a: tls_ca_file = '{path}': .*name a file of cert"):
        endpoint("https://example.com/hook", path)


async def test_nobody_there_and_no_http_are_told() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        made = endpoint(f"http://127.0.0.1:{port}/secret-path")
        async with made.session() as session:
            found = await made.post(session, message())
    assert found.verdict is Verdict.AGAIN
    assert found.why.startswith("its answer is no HTTP: ")
    assert "secret-path" not in found.why
    why = (await made.reach()).why_not
    assert why is not None
    assert "Connect call failed" in why
