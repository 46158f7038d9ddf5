"""Addresses of brokers and servers in the configuration: what can be one, known without a client library.

Every function raises `ValueError` with one line that names the setting, never with what stands before an @.
"""

import re
from urllib.parse import SplitResult, parse_qs, urlsplit

REDIS_SCHEMES = frozenset(
    f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
) | {"unix"}

_HIGHEST_PORT = 65_535


def broker_addresses(text: str) -> list[str]:
    """Of `bootstrap_servers`: host:port, separated by commas."""
    servers = [server.strip() for server in text.split(",") if server.strip()]
    if "://" in text:
        raise ValueError("bootstrap_servers is a URL: write host:port, separated by commas, without what is before ://")
    if "@" in text:
        raise ValueError("bootstrap_servers holds a user: write host:port, and the user as sasl_username")
    for server in servers:
        host, colon, port = server.rpartition(":")
        if not colon or not port.isdecimal():
            raise ValueError(
                f"bootstrap_servers: {server!r} has no port: write host:port, such as {server.strip(':')}:9092"
            )
        if not host or not 0 < int(port) <= _HIGHEST_PORT:
            raise ValueError(f"bootstrap_servers: {server!r} is not host:port")
    if not servers:
        raise ValueError("bootstrap_servers is empty: write host:port, separated by commas")
    return servers


def redis_parts(url: str) -> SplitResult:
    """Of `[redis] url`, whichever kind it is."""
    scheme, _, rest = url.partition("://")
    user, at, _ = rest.rpartition("@")
    if (at and re.search(r"[@/?#\s]", user)) or "#" in rest:
        name = scheme if scheme in REDIS_SCHEMES else "redis"
        raise ValueError(
            f"url: {name}://...: percent-escape what is special in user and password, %40 for @, %2F for /"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("url is no URL") from None
    if parts.scheme not in REDIS_SCHEMES:
        raise ValueError(f"url: begin it with one of {', '.join(f'{name}://' for name in sorted(REDIS_SCHEMES))}")
    address = parts.netloc.rpartition("@")[2]
    where = f"{parts.scheme}://{address}{parts.path}"
    is_one = parts.scheme in ("redis", "rediss")
    if parts.scheme != "unix":
        if not address and not (is_one and parts.path):
            raise ValueError("url: it names no host")
        hosts = redis_hosts(address or "localhost", 6379)
        if is_one and len(hosts) > 1:
            raise ValueError(f"url: {where}: several hosts stand in redis+cluster:// or redis+sentinel://")
    elif not parts.path:
        raise ValueError("url: it names no path: write unix:///path")
    if is_one and not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError(f"url: {where}: the path is the number of a database")
    service, _, database = parts.path.strip("/").partition("/")
    if parts.scheme.endswith("+sentinel") and (not service or not (database or "0").isdecimal()):
        raise ValueError(f"url: {where}: the path of a sentinel URL is /NAME or /NAME/DATABASE")
    options = parse_qs(parts.query, keep_blank_values=True)
    if unknown := [name for name in options if name != "db"]:
        raise ValueError(f"url: {where}: option {unknown[0]} is none: db is, and the keys of [redis]")
    if not all(value.isdecimal() for value in options.get("db", ())):
        raise ValueError(f"url: {where}: db is the number of a database")
    return parts


def redis_hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    """Of one or more HOST[:PORT], separated by commas; `port`: the default."""
    found = []
    for text in netloc.rpartition("@")[2].split(","):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text.strip())
        if match is None or not 0 < int(match[2] or port) <= _HIGHEST_PORT:
            raise ValueError(f"url: {text!r} is not HOST or HOST:PORT")
        found.append((match[1].strip("[]"), int(match[2] or port)))
    return found
