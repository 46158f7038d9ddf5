"""Twilio: the shapes of its URL, account and token. Nobody is asked."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from connectors.media_ws.config import TwilioConfig
from liveview.forwarding import is_loopback
from trunkline.config import Config
from trunkline.doctor.findings import Finding, fault, ok, warning

_TOKEN = re.compile("[0-9a-f]{32}")
_ACCOUNT = re.compile("AC[0-9a-f]{32}")


def check_twilio(config: Config) -> Iterator[Finding]:
    twilio = config.twilio
    found = [*_credentials(twilio), *_url(twilio)]
    if found:
        yield from found
    else:
        signed = "with" if twilio.auth_token is not None else "without"
        yield ok("twilio", f"{twilio.public_url or twilio.path}, {signed} signatures")


def _credentials(twilio: TwilioConfig) -> Iterator[Finding]:
    if twilio.auth_token is not None and not _TOKEN.fullmatch(twilio.auth_token):
        what = f"[twilio] auth_token has {len(twilio.auth_token)} characters"
        yield warning("twilio", f"{what}; Twilio's have 32 of 0-9 and a-f: copy it from the console again")
    if twilio.account_sid is not None and not _ACCOUNT.fullmatch(twilio.account_sid):
        yield fault("twilio", "[twilio] account_sid is none (AC and 32 of 0-9 and a-f): every stream would be refused")
    if twilio.auth_token is not None and twilio.public_url is None:
        yield warning(
            "twilio",
            "signatures are checked, but [twilio] public_url is not set: they are made over the URL in the TwiML, "
            "which a proxy that changes the Host hides: set it",
        )


def _url(twilio: TwilioConfig) -> Iterator[Finding]:
    if twilio.public_url is None:
        return
    parts = urlsplit(twilio.public_url)
    try:
        port = parts.port
    except ValueError:
        yield fault("twilio", "[twilio] public_url has a port that is none: write wss://HOST/PATH")
        return
    host = parts.hostname or ""
    if parts.scheme != "wss":
        yield warning("twilio", "[twilio] public_url begins with https://, the TwiML's with wss://: write it as there")
    if port == 80:
        yield fault("twilio", "[twilio] public_url has port 80, but Twilio speaks TLS only: leave the port out")
    if is_loopback(host) or _is_private(host) or ("." not in host and ":" not in host):
        yield fault("twilio", f"[twilio] public_url names {host}, which Twilio cannot reach: use a public name")
    if parts.path.rstrip("/") != twilio.path.rstrip("/"):
        what = f"[twilio] public_url ends in {parts.path or '/'}, path is {twilio.path}"
        yield warning("twilio", f"{what}: a proxy has to map one to the other")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
