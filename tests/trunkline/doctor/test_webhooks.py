import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from testing.services.ports import free_ports
from tests.sinks.webhooks.receiver import SECRET, Receiver
from tests.trunkline.doctor.found import one
from trunkline.config import Config
from trunkline.doctor.findings import Finding, Level
from trunkline.doctor.webhooks import check_webhooks


async def check(*endpoints: WebhookConfig) -> list[Finding]:
    config = Config(webhooks=WebhooksConfig(endpoints=endpoints, secret=SECRET))
    return await asyncio.to_thread(lambda: list(check_webhooks(config)))


def test_none() -> None:
    assert [finding.what for finding in check_webhooks(Config())] == ["not configured"]


async def test_receivers_are_reached_and_nothing_is_sent() -> None:
    (port,) = free_ports(1)
    async with Receiver().running() as receiver:
        found = await check(
            WebhookConfig(name="crm", url=receiver.url),
            WebhookConfig(name="gone", url=f"http://localhost:{port}/SECRET"),
            WebhookConfig(name="nowhere", url="https://receiver.invalid/SECRET"),
            WebhookConfig(name="odd", url="https://localhost:1/", tls_ca_file="none.pem"),
        )
        assert receiver.seen == []
    assert len(found) == 4
    one(found, Level.OK, "crm (localhost:")
    one(found, Level.FAULT, f"gone (localhost:{port}): ")
    one(found, Level.FAULT, "nowhere (receiver.invalid): [Errno")
    one(found, Level.FAULT, "odd: tls_ca_file = 'none.pem'")
    assert "SECRET" not in str(found)


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [
        (90, Level.OK, ", its certificate expires on 20"),
        (3, Level.WARNING, " UTC: have it renewed"),
        (-1, Level.FAULT, "its certificate is not accepted: certificate has expired"),
    ],
)
async def test_the_certificate(tmp_path: Path, days: int, level: Level, said: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    begin, end = (datetime.now(UTC) + timedelta(days=one) for one in (min(-1, days - 1), days))
    issued = authority.issue_cert("localhost", not_before=begin, not_after=end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    async with Receiver().running(ssl=context) as receiver:
        known = WebhookConfig(name="crm", url=receiver.url, tls_ca_file=str(tmp_path / "ca.pem"))
        one(await check(known), level, said)
        one(await check(WebhookConfig(name="crm", url=receiver.url)), Level.FAULT, "its certificate is not accepted")
