"""Digest authentication (RFC 7616; in SIP RFC 3261, section 22 and RFC 8760): the server's side and the client's.

The server accepts `qop=auth` with MD5 and SHA-256 only. Its nonces carry the time they were made and a MAC, so that one
never used costs no memory; a nonce is remembered, with the counts it was used with, once a right password came with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from connectors.errors import LocalProtocolError
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.grammar import is_token, quote, split, unquote_string
from connectors.sip.message.message import SipRequest, SipResponse

ALGORITHMS = ("SHA-256", "MD5")
"""Most preferred first (RFC 8760, section 2.4)."""

_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_NONCE = struct.Struct("!QQ")
_MAC_BYTES = 16
_COUNT = re.compile(r"[0-9a-fA-F]{8}")
_WINDOW = 64
_MAX_CREDENTIALS = 8
_MAX_FIELDS = 32


@dataclass(slots=True)
class DigestStats:
    """`challenged`: no credentials of ours. `malformed`: none that can be read. `wrong`: user or password. `stale`:
    right, with a nonce that is over or not ours. `replayed`: right, with a count that was used."""

    accepted: int = 0
    challenged: int = 0
    malformed: int = 0
    wrong: int = 0
    stale: int = 0
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class Authenticated:
    username: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """Answer `status` with `headers`. `stale`: the password was right, the client tries again without asking."""

    status: int
    headers: tuple[tuple[str, str], ...]
    stale: bool = False


@dataclass(slots=True)
class _Uses:
    """Counts a nonce was used with: the highest, and a bit for each of the 64 up to it. Lower ones are refused, as
    requests of one client overtake each other by little."""

    issued_ms: int
    highest: int = 0
    seen: int = 0

    def take(self, count: int) -> bool:
        if count > self.highest:
            self.seen = (self.seen << min(count - self.highest, _WINDOW) | 1) & (1 << _WINDOW) - 1
            self.highest = count
            return True
        bit = 1 << self.highest - count if self.highest - count < _WINDOW else 0
        if not bit or self.seen & bit or count == 0:
            return False
        self.seen |= bit
        return True


class DigestAuthenticator:
    """The server's side, for one realm. `password_of` gives the password of a user, None where there is no such user.

    `nonces` bounds the remembered nonces: beyond it the oldest is forgotten, and every nonce as old is over.
    """

    def __init__(
        self,
        realm: str,
        password_of: Callable[[str], str | None],
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        nonce_life_s: float = 300.0,
        nonces: int = 10_000,
        proxy: bool = False,
        secret: bytes | None = None,
    ) -> None:
        unknown = [name for name in algorithms if name not in _HASHES]
        if unknown or not algorithms:
            raise LocalProtocolError(f"no such digest algorithms: {unknown}")
        self.stats = DigestStats()
        self._realm = realm
        self._password_of = password_of
        self._algorithms = tuple(algorithms)
        self._life_ms = round(nonce_life_s * 1000)
        self._max_nonces = nonces
        self._secret = secret or secrets.token_bytes(32)
        self._issued = 0
        self._uses: OrderedDict[str, _Uses] = OrderedDict()
        self._floor_ms = -1
        self._status = 407 if proxy else 401
        self._asks, self._reads = (
            ("Proxy-Authenticate", "Proxy-Authorization") if proxy else ("WWW-Authenticate", "Authorization")
        )

    def check(self, request: SipRequest, now: float) -> Authenticated | Challenge:
        """Whether the request's credentials are right. Not for ACK and CANCEL, which cannot be challenged (RFC 3261,
        section 22.1).

        The credentials' `uri` enters the digest, as it must, and is not compared with the Request-URI, which proxies
        rewrite (RFC 3261, section 22.4).
        """
        credentials = self._credentials(request)
        if credentials is None:
            self.stats.challenged += 1
            return self.challenge(now)
        if not self._is_complete(credentials):
            self.stats.malformed += 1
            return self.challenge(now)
        if not self._is_right(credentials, request.method):
            self.stats.wrong += 1
            return self.challenge(now)
        nonce = credentials["nonce"]
        issued_ms = self._issue_time(nonce)
        now_ms = round(now * 1000)
        if issued_ms is None or not 0 <= now_ms - issued_ms <= self._life_ms or issued_ms <= self._floor_ms:
            self.stats.stale += 1
            return self.challenge(now, stale=True)
        if not self._remember(nonce, issued_ms, now_ms).take(int(credentials["nc"], 16)):
            self.stats.replayed += 1
            return self.challenge(now, stale=True)
        self.stats.accepted += 1
        return Authenticated(credentials["username"])

    def challenge(self, now: float, *, stale: bool = False) -> Challenge:
        """One header for each algorithm, all with the same new nonce."""
        self._issued += 1
        body = _NONCE.pack(round(now * 1000), self._issued)
        nonce = base64.urlsafe_b64encode(body + self._mac(body)).decode()
        tail = ", stale=true" if stale else ""
        headers = tuple(
            (
                self._asks,
                f'Digest realm={quote(self._realm)}, nonce="{nonce}", qop="auth", algorithm={algorithm}{tail}',
            )
            for algorithm in self._algorithms
        )
        return Challenge(self._status, headers, stale)

    def _credentials(self, request: SipRequest) -> dict[str, str] | None:
        """Those for our realm; an unknown scheme is as good as none (RFC 4475, section 3.3.7). Unreadable ones come
        empty."""
        unreadable: dict[str, str] | None = None
        for value in request.headers.get_all(self._reads)[:_MAX_CREDENTIALS]:
            if value[:6].lower() != "digest":
                continue
            try:
                fields = parse_digest(value)
            except SipParseError:
                unreadable = {}
                continue
            if fields.get("realm") == self._realm:
                return fields
        return unreadable

    def _is_complete(self, fields: dict[str, str]) -> bool:
        return (
            all(fields.get(name) for name in ("username", "nonce", "uri", "response", "cnonce"))
            and fields.get("qop", "").lower() == "auth"
            and fields.get("algorithm", "MD5").upper() in self._algorithms
            and _COUNT.fullmatch(fields.get("nc", "")) is not None
        )

    def _is_right(self, fields: dict[str, str], method: str) -> bool:
        password = self._password_of(fields["username"])
        expected = digest_response(
            algorithm=fields.get("algorithm", "MD5").upper(),
            username=fields["username"],
            realm=self._realm,
            # An unknown user costs the same time as a wrong password.
            password=password if password is not None else "",
            nonce=fields["nonce"],
            method=method,
            uri=fields["uri"],
            nc=fields["nc"],
            cnonce=fields["cnonce"],
        )
        given = fields["response"].lower().encode("utf-8", "surrogatepass")  # of bytes that need not be text
        same = hmac.compare_digest(expected.encode(), given)
        return same and password is not None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body + self._realm.encode(), "sha256")[:_MAC_BYTES]

    def _issue_time(self, nonce: str) -> int | None:
        """Milliseconds, or None for a nonce we did not make."""
        try:
            data = base64.b64decode(nonce.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            return None
        body, mac = data[: _NONCE.size], data[_NONCE.size :]
        if not hmac.compare_digest(self._mac(body), mac):
            return None
        issued_ms: int = _NONCE.unpack(body)[0]
        return issued_ms

    def _remember(self, nonce: str, issued_ms: int, now_ms: int) -> _Uses:
        uses = self._uses.get(nonce)
        if uses is None:
            while self._uses and now_ms - next(iter(self._uses.values())).issued_ms > self._life_ms:
                self._uses.popitem(last=False)
            while len(self._uses) >= self._max_nonces:
                _, oldest = self._uses.popitem(last=False)
                self._floor_ms = max(self._floor_ms, oldest.issued_ms)
            uses = self._uses[nonce] = _Uses(issued_ms)
        return uses


class DigestClient:
    """The client's side: answers challenges of one server, counting the uses of its nonces."""

    def __init__(
        self, username: str, password: str, *, new_cnonce: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._username = username
        self._password = password
        self._new_cnonce = new_cnonce
        self._nonce = ""
        self._count = 0

    def authorize(self, response: SipResponse, method: str, uri: object) -> tuple[str, str]:
        """Header that answers a 401 or 407: the first challenge whose algorithm we have. `uri`: the Request-URI.

        Raises `LocalProtocolError` where there is none.
        """
        proxy = response.status == 407
        values = response.headers.get_all("Proxy-Authenticate" if proxy else "WWW-Authenticate")
        name = "Proxy-Authorization" if proxy else "Authorization"
        return name, self.answer(values, method, uri)

    def answer(self, challenges: Iterable[str], method: str, uri: object) -> str:
        for value in challenges:
            try:
                fields = parse_digest(value)
            except SipParseError:
                continue
            algorithm = fields.get("algorithm", "MD5").upper()
            qops = [qop.strip().lower() for qop in fields.get("qop", "").split(",")]
            if algorithm in _HASHES and "nonce" in fields and ("auth" in qops or "qop" not in fields):
                return self._answer(fields, algorithm, method, str(uri))
        raise LocalProtocolError("no challenge that can be answered")

    def _answer(self, fields: dict[str, str], algorithm: str, method: str, uri: str) -> str:
        realm, nonce = fields.get("realm", ""), fields["nonce"]
        self._count = self._count + 1 if nonce == self._nonce else 1
        self._nonce = nonce
        nc, cnonce = (f"{self._count:08x}", self._new_cnonce()) if "qop" in fields else (None, "")
        response = digest_response(
            algorithm=algorithm,
            username=self._username,
            realm=realm,
            password=self._password,
            nonce=nonce,
            method=method,
            uri=uri,
            nc=nc,
            cnonce=cnonce,
        )
        parts = [f"username={quote(self._username)}", f"realm={quote(realm)}", f"nonce={quote(nonce)}"]
        parts += [f"uri={quote(uri)}", f'response="{response}"', f"algorithm={algorithm}"]
        if nc is not None:
            parts += ["qop=auth", f"nc={nc}", f"cnonce={quote(cnonce)}"]
        if "opaque" in fields:
            parts.append(f"opaque={quote(fields['opaque'])}")
        return "Digest " + ", ".join(parts)


def digest_response(
    *,
    algorithm: str,
    username: str,
    realm: str,
    password: str,
    nonce: str,
    method: str,
    uri: str,
    nc: str | None,
    cnonce: str,
) -> str:
    """`response` of the credentials (RFC 7616, section 3.4.1), with `qop=auth`, or as of RFC 2069 without `nc`."""
    digest = _HASHES[algorithm]

    def over(*parts: str) -> str:
        return digest(":".join(parts).encode("utf-8", "surrogateescape"))

    secret, request = over(username, realm, password), over(method, uri)
    if nc is None:
        return over(secret, nonce, request)
    return over(secret, nonce, nc, cnonce, "auth", request)


def parse_digest(value: str) -> dict[str, str]:
    """Fields of a `Digest` challenge or of credentials, names in lower case, values unquoted. Raises `SipParseError`
    for another scheme, and where a name comes twice."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        raise SipParseError("Unknown authentication scheme")
    fields: dict[str, str] = {}
    for part in split(rest, ",", "credentials", limit=_MAX_FIELDS):
        name, equals, text = part.partition("=")
        name, text = name.strip().lower(), text.strip()
        if not equals or not is_token(name) or name in fields:
            raise SipParseError("Malformed credentials")
        fields[name] = unquote_string(text)
    return fields
