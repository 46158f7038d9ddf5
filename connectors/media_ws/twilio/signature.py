"""Twilio's request signature, `X-Twilio-Signature`.

Base64 of the HMAC-SHA1, keyed with the account's auth token, over the URL that Twilio requested, followed for form
posts by every parameter's name and value in the order of the names (Twilio, "Webhooks security"). The upgrade to a
WebSocket is signed over the URL in the `<Stream>` alone, with its `wss` scheme. The signature says that the peer is
Twilio acting for this account. It names no call, which is why the stream is bound to its call afterwards. The
SHA-256 signatures of Twilio's webhook rules are not accepted.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

HEADER = "X-Twilio-Signature"

_DEFAULT_PORT = {"https": 443, "wss": 443, "http": 80, "ws": 80}

FormParameters = Mapping[str, str] | Iterable[tuple[str, str]]


def sign(auth_token: str, url: str, parameters: FormParameters = ()) -> str:
    """The signature of a request. A name that occurs with several values counts each value once, in their order."""
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    digest = hmac.new(auth_token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_valid(auth_token: str, signature: str | None, urls: Iterable[str], parameters: FormParameters = ()) -> bool:
    """Whether the signature fits one of the URLs; all are tried, each in constant time. False without a signature."""
    if not signature:
        return False
    given = signature.encode("utf-8", "surrogatepass")
    pairs = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
    matches = [hmac.compare_digest(sign(auth_token, url, pairs).encode(), given) for url in urls]
    return any(matches)


def url_variants(url: str, *, schemes: Iterable[str] = ("wss", "https")) -> list[str]:
    """The ways in which Twilio may have written a URL before signing it.

    A server behind a proxy sees another scheme than Twilio did, and Twilio writes the port at some times and leaves it
    out at others: every scheme given, with the port as it is, without one and with the scheme's default one.
    """
    parts = urlsplit(url)
    variants: dict[str, None] = {}
    for scheme in schemes:
        for netloc in _netlocs(parts, scheme):
            variants[parts._replace(scheme=scheme, netloc=netloc).geturl()] = None
    return list(variants)


def _netlocs(parts: SplitResult, scheme: str) -> list[str]:
    host = parts.netloc
    tail = host.rsplit("]", 1)[-1]  # an IPv6 address has colons of its own
    bare = host[: len(host) - len(tail)] + tail.split(":", 1)[0]
    return [host, bare, f"{bare}:{_DEFAULT_PORT[scheme]}"]
