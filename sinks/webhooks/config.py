"""The section `[webhooks]` of the configuration."""

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from sinks.config import Count, Positive
from sinks.credentials import check_credential, check_credentials, check_url, masked
from sinks.record import CallAction, TurnEvent
from sinks.webhooks.signature import signing_key

TYPES = ("transcript", "call", "turn", "dtmf")
EVENTS = (*TYPES, *(f"call.{action}" for action in CallAction), *(f"turn.{event}" for event in TurnEvent))

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = re.compile("(content|webhook)-.*|host|idempotency-key|transfer-encoding|connection|expect", re.IGNORECASE)


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver. `name`: for logs, and for the spool, where its records wait under it. `events`: what it gets: types
    of records (`transcript`: finals alone), or single events (`call.END`, `turn.EndOfTurn`).

    `secret`: `whsec_` and 24 to 64 bytes in base64; without one, that of the section. `headers`: to be sent as well.
    `timeout_s`: for the whole of a request. `at_once`: requests at the same time, each of another call.
    `tls_ca_file`: who may have signed the receiver's certificate, in place of the system's authorities.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    url: str
    secret: str | None = None
    events: tuple[str, ...] = TYPES
    headers: dict[str, str] = {}
    timeout_s: Positive = 10.0
    at_once: Count = 16
    tls_ca_file: str | None = None

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def _check(self) -> None:
        check_url("url", self.url)
        _check_receiver(self.url)
        check_credentials(self, "secret", "tls_ca_file")
        if self.secret is not None:
            signing_key(self.secret)
        unknown = sorted(set(self.events) - set(EVENTS))
        if unknown or not self.events:
            raise ValueError(f"events = {unknown}: use some of {', '.join(EVENTS)}")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name) or _OURS.fullmatch(name):
                raise ValueError(f"headers: {name!r} is no header, or one of those that are set already")
            if name.lower() == "authorization" and urlsplit(self.url).username is not None:
                raise ValueError("headers has Authorization, and url a user: leave one out")
            check_credential(f"headers {name}", value)

    @property
    def host(self) -> str:
        """Of the receiver, with its port: what may be logged of the URL."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"WebhookConfig({self.name!r}, {self.host!r}, secret={masked(self.secret)!r})"


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secret`: of the receivers that have none of their own. `spool`: the file in which records wait until their
    receiver has taken them, of one server alone; what is beyond `spool_max_bytes` or older than `spool_max_age_h` hours
    goes to the dead-letter file beside it. `close_timeout_s`: for what waits, when the server stops."""

    endpoints: tuple[WebhookConfig, ...]
    secret: str | None = None
    spool: str = "trunkline-webhooks.spool"
    spool_max_bytes: Count = 1 << 30
    spool_max_age_h: Positive = 72.0
    close_timeout_s: Positive = 5.0

    def __post_init__(self) -> None:
        check_credentials(self, "secret")
        if self.secret is not None:
            signing_key(self.secret)
        names = [one.name for one in self.endpoints]
        if not names or len(set(names)) != len(names):
            raise ValueError("endpoints: there is to be one at least, and each with a name of its own")
        for one in self.endpoints:
            if one.secret is None and self.secret is None:
                raise ValueError(f"{one.name}: secret is not set, nor is one for all (TRUNKLINE_WEBHOOKS_SECRET)")

    def __repr__(self) -> str:
        return f"WebhooksConfig({self.endpoints!r}, secret={masked(self.secret)!r})"


def _check_receiver(url: str) -> None:
    """Raises `ValueError`, without the URL: it may hold secrets anywhere."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("url is no URL: its host or port cannot be") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("url is no address of a receiver: write https://host/path")
    if parts.fragment or any(not "!" <= char <= "~" for char in url):
        raise ValueError("url has a fragment, white space or characters that are not ASCII: escape them")
