"""Tokens for Kafka's SASL mechanism OAUTHBEARER, from a command or from a token endpoint (RFC 6749, section 4.4)."""

import base64
import binascii
import json
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from sinks.config import KafkaConfig
from sinks.errors import SinkUnavailable

TIMEOUT_S = 10.0

_FRESH_PART = 0.8
"""Of a token's lifetime: after it a new one is fetched."""

_UNKNOWN_LIFETIME_S = 60.0


class Tokens:
    """One token at a time, fetched anew before it expires. Thread-safe; blocks while it fetches."""

    def __init__(self, config: KafkaConfig) -> None:
        self._fetch: Callable[[], tuple[str, float | None]]
        if config.sasl_token_command is not None:
            words = shlex.split(config.sasl_token_command)
            self._fetch = lambda: (_printed(words), None)
        else:
            self._fetch = lambda: _granted(config)
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """Raises `SinkUnavailable`, never with a secret in its text."""
        with self._lock:
            if time.monotonic() >= self._until:
                token, lifetime_s = self._fetch()
                lifetime_s = lifetime_s or _lifetime_s(token) or _UNKNOWN_LIFETIME_S
                self._token, self._until = token, time.monotonic() + _FRESH_PART * lifetime_s
            return self._token


def _printed(words: list[str]) -> str:
    """By the command, on standard output."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else f"no answer in {TIMEOUT_S:g} s"
        raise SinkUnavailable(f"sasl_token_command: {words[0]}: {why}") from error
    token = done.stdout.strip()
    if done.returncode or not token:
        raise SinkUnavailable(f"sasl_token_command: {words[0]} printed no token, its status is {done.returncode}")
    return token


def _granted(config: KafkaConfig) -> tuple[str, float | None]:
    """By the endpoint, for the client's credentials; with its lifetime in seconds."""
    form = {"grant_type": "client_credentials"}
    if config.sasl_token_scope is not None:
        form["scope"] = config.sasl_token_scope
    user = f"{urllib.parse.quote(config.sasl_username or '')}:{urllib.parse.quote(config.sasl_password or '')}"
    request = urllib.request.Request(  # noqa: S310 - the configuration takes http and https alone
        config.sasl_token_url or "",
        urllib.parse.urlencode(form).encode(),
        {"Authorization": "Basic " + base64.b64encode(user.encode()).decode(), "Accept": "application/json"},
    )
    where = urllib.parse.urlsplit(request.full_url).hostname
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            grant = json.load(answer)
        return str(grant["access_token"]), float(grant["expires_in"]) if "expires_in" in grant else None
    except urllib.error.HTTPError as error:
        raise SinkUnavailable(f"sasl_token_url: {where} answered {error.code} {error.reason}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or "its answer holds no access_token"
        raise SinkUnavailable(f"sasl_token_url: {where}: {reason}") from error


def _lifetime_s(token: str) -> float | None:
    """Of a JSON Web Token (RFC 7519, section 4.1.4) from now on; None for any other."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return max(float(claims["exp"]) - time.time(), 0.0)
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
