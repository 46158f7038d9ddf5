"""Webhooks: whether each receiver can be reached, and how long its certificate is valid. No record is sent."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from sinks.errors import SinkMisconfigured
from sinks.webhooks.config import WebhookConfig, WebhooksConfig
from sinks.webhooks.signature import signing_key
from trunkline.config import Config
from trunkline.doctor.certificates import SOON
from trunkline.doctor.findings import Finding, fault, ok, warning

_CONNECT_S = 5.0


def check_webhooks(config: Config) -> Iterator[Finding]:
    """Of the receivers side by side, one finding each."""
    if config.webhooks is None:
        yield ok("webhooks", "not configured")
        return
    yield from asyncio.run(_all(config.webhooks))


async def _all(config: WebhooksConfig) -> list[Finding]:
    return await asyncio.gather(*(_one(one, one.secret or config.secret or "") for one in config.endpoints))


async def _one(config: WebhookConfig, secret: str) -> Finding:
    from sinks.webhooks.endpoint import Endpoint, is_loopback  # noqa: PLC0415 - the HTTP client, where it is used

    where = f"{config.name} ({config.host})"
    timely = msgspec.structs.replace(config, timeout_s=min(config.timeout_s, _CONNECT_S))
    try:
        endpoint = Endpoint(timely, signing_key(secret))
    except SinkMisconfigured as error:
        return fault("webhooks", str(error).removeprefix("[webhooks] "))
    began = time.monotonic()
    reached = await endpoint.reach()
    what = f"{where}: connected in {1000 * (time.monotonic() - began):.1f} ms"
    if reached.why_not is not None:
        return fault("webhooks", f"{where}: {reached.why_not}: see its url, its certificate, names and firewalls")
    if reached.certificate_ends_at is not None:
        end = datetime.fromtimestamp(reached.certificate_ends_at, UTC)
        if end - datetime.now(UTC) < SOON:
            return warning("webhooks", f"{what}, its certificate expires on {end:%Y-%m-%d %H:%M} UTC: have it renewed")
        return ok("webhooks", f"{what}, its certificate expires on {end:%Y-%m-%d}")
    if not is_loopback(config.host):
        return warning("webhooks", f"{what}, records go there unencrypted: use https")
    return ok("webhooks", f"{what}, unencrypted")
