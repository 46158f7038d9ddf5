"""Wrong tokens: logged, counted, and answered ever later to an address that keeps sending them.

Every token is looked at when it comes, so a right one opens at once, whoever else sits behind the same address and
whatever they sent. What waits is the answer to a wrong one. Waiting answers are few, in all and for an address; beyond
that the answer is 429 at once and the end of the connection, so nothing can be held up by sending more of them.
"""

import asyncio
import logging
import math
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from liveview.forwarding import client

logger = logging.getLogger(__name__)

FREE = 5
"""Wrong tokens of an address that are answered without delay: mistakes, a page with yesterday's cookie."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 2.0
FORGET_S = 900.0
"""Without a wrong token for this long, an address begins anew."""


@dataclass(slots=True)
class AccessStats:
    """Requests that were not let in. `wrong_tokens`: of any endpoint; of these `slowed` were answered late and
    `turned_away` with 429. `forwarded`: through a proxy to a server without a token. `foreign_hosts`,
    `foreign_origins`: addressed by a name, or by a page, of somebody else, to a server without a token. `malformed`:
    no HTTP that can be read."""

    wrong_tokens: int = 0
    slowed: int = 0
    turned_away: int = 0
    forwarded: int = 0
    foreign_hosts: int = 0
    foreign_origins: int = 0
    malformed: int = 0


class AddressCounts:
    """How often each address did something. Bounded: beyond `addresses` the one that did it longest ago is forgotten,
    and begins anew."""

    def __init__(self, addresses: int = 4096) -> None:
        self._limit = addresses
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, address: str, now: float) -> int:
        """Once more; how often that makes it. `now`: monotonic seconds."""
        count, last = self._counts.pop(address, (0, now))
        count = 1 if now - last > FORGET_S else count + 1
        self._counts[address] = (count, now)
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return count


def is_logged(count: int) -> bool:
    """Whether the log has a line for the `count`th time: the first, the tenth, the hundredth..."""
    return str(count).rstrip("0") == "1"


def delay_s(count: int) -> float:
    """How late the `count`th wrong token of an address is answered."""
    return 0.0 if count <= FREE else min(FIRST_DELAY_S * 2.0 ** min(count - FREE - 1, 16), LONGEST_DELAY_S)


class WrongTokens:
    """For all endpoints of one server. `waiting`, `waiting_each`: answers that may wait, in all and for one address."""

    def __init__(self, stats: AccessStats, *, waiting: int = 64, waiting_each: int = 4) -> None:
        self._stats = stats
        self._tally = AddressCounts()
        self._limits = waiting, waiting_each
        self._waiting: Counter[str] = Counter()

    def middleware(self, cookie: str) -> Middleware:
        """Of an application: looks at every 401 whose request has an `Authorization`, a `token` in its query or this
        cookie. A request without any is asked for its token; that is no guess."""

        @web.middleware
        async def slow_down(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            if response.status != 401 or response.prepared:
                return response
            if hdrs.AUTHORIZATION in request.headers or cookie in request.cookies or "token" in request.query:
                return await self._answer(request, response)
            return response

        return slow_down

    async def _answer(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        stats, address = self._stats, client(request)
        stats.wrong_tokens += 1
        count = self._tally.add(address, time.monotonic())
        if is_logged(count):
            logger.warning("wrong token from %s for %s %s, number %d", address, request.method, request.path, count)
        delay = delay_s(count)
        if not delay:
            return response
        waiting, waiting_each = self._limits
        if self._waiting.total() >= waiting or self._waiting[address] >= waiting_each:
            stats.turned_away += 1
            return _turned_away(delay)
        stats.slowed += 1
        self._waiting[address] += 1
        try:
            await asyncio.sleep(delay)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return response


def _turned_away(delay: float) -> web.Response:
    headers = {hdrs.RETRY_AFTER: str(math.ceil(delay)), hdrs.CACHE_CONTROL: "no-store"}
    response = web.Response(status=429, text="too many wrong tokens\n", headers=headers)
    response.force_close()
    return response
