"""The live page and its API, as an aiohttp application or as routes of a larger one.

    GET /                     the page; `?token=` leaves a cookie and redirects to the page without it
    GET /mic                  the microphone page: speak, and see the transcript; `?token=` likewise
    GET /static/{name}        their scripts, styles and icon
    GET /api/calls            {"now", "calls": [call + "last_words"]}, newest first
    GET /api/calls/{call_id}  {"now", "version", "call", "segments", "dtmf", "steps"}: one call so far
    GET /api/call?call_id=    the same, for every id: `.` and `..` never arrive as parts of a path
    GET /api/mic              {"whip", "token", "ice_servers"}: where the microphone page sends its audio
    GET /api/events           server-sent events; each `?call_id=` adds that call's records, for at most 100 calls

Events of the stream: `ready` {"now", "build", "microphone", "call_ids", "heartbeat_s", "warnings"} once it is
subscribed, with whether the microphone page can be used; `calls` and `words` (see `feed`); `record`, a record of a
selected call as the sinks get it; `ping` {"now", "warnings"} as heartbeat. A reader that applies what comes after
`ready` and reads the snapshots then misses nothing: `revision` says which text is newer. A record's event id names it
and the time of its emission; with `Last-Event-ID` the stream begins with every record of those calls which the view
still holds from that time on.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import msgspec
from aiohttp import hdrs, web

from liveview.access import COOKIE, Access
from liveview.attempts import WrongTokens
from liveview.errors import BadRequest, LiveViewError, LiveViewUnavailable, NotFound, TooManyPages
from liveview.feed import CallFeed, Mailbox, is_passing, until_first
from liveview.microphone import Microphone
from liveview.sse import event, now, parse_position, position
from sinks.live import CallSnapshot, View
from supervision import Supervisor

log = logging.getLogger(__name__)

MAX_CALL_ID_CHARS = 2_000
"""What fits into a request line of 8,190 octets, also percent-encoded."""

MAX_CALLS = 100
"""Calls whose records one event stream carries."""

CONTENT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

HEADERS = {
    # Trusted Types turn any markup made from a string into an error, so a transcript cannot become one. The one policy
    # makes the address of the page's own worker and nothing else.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types trunkline-worker"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

MICROPHONE_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(self)"
"""`Permissions-Policy` of the one page that may listen."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LiveViewConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `liveview` of the configuration."""

    token: str | None = None
    """Needed by every request for data; None answers only requests to localhost or an IP address, through no proxy."""
    heartbeat_s: float = 15.0
    """Pause between two heartbeats of an event stream; the page takes silence of 2.5 of them for a lost stream."""
    list_interval_ms: int = 500
    """The list of calls changes at most this often."""
    max_pages: int = 500
    """Event streams open at the same time; more are refused with 503."""
    send_timeout_s: float = 30.0
    """A page that takes nothing for this long is dropped."""

    def __repr__(self) -> str:
        token = None if self.token is None else "***"
        return f"LiveViewConfig(token={token!r}, max_pages={self.max_pages})"


class LivePage:
    """Serves one view. `routes` and `lifetime` go together into an application; `create_app` does that.

    `microphone`: where the microphone page sends its audio; None where the server takes no WebRTC. `access`: who may
    read; by default as the token of `config` says. `warnings`: what of the server is not as it should be, a line each.
    """

    def __init__(
        self,
        view: View,
        config: LiveViewConfig,
        microphone: Microphone | None = None,
        access: Access | None = None,
        warnings: Callable[[], Sequence[str]] = list,
    ) -> None:
        self.supervisor = Supervisor()
        self._view = view
        self._config = config
        self._microphone = microphone
        self._warnings = warnings
        self._access = access or Access(config.token)
        self._feed = CallFeed(view, interval_s=config.list_interval_ms / 1000, mailbox_limit=64)
        files = (resources.files("liveview") / "static").iterdir()
        self._assets = {file.name: file.read_bytes() for file in files if _suffix(file.name) in CONTENT_TYPES}
        self._etags = {name: hashlib.blake2b(body, digest_size=12).hexdigest() for name, body in self._assets.items()}
        self._build = hashlib.blake2b("".join(sorted(self._etags.values())).encode(), digest_size=6).hexdigest()

    def routes(self) -> list[web.RouteDef]:
        """All routes, for the root of an application or of a sub-application."""
        return [
            web.get("/", self._answering(self._page)),
            web.get("/mic", self._answering(self._microphone_page)),
            web.get("/static/{name}", self._answering(self._asset)),
            web.get("/api/calls", self._answering(self._calls, secret=True)),
            web.get("/api/calls/{call_id:[\\s\\S]+}", self._answering(self._snapshot, secret=True)),
            web.get("/api/call", self._answering(self._snapshot, secret=True)),
            web.get("/api/mic", self._answering(self._microphone_settings, secret=True)),
            web.get("/api/events", self._answering(self._events, secret=True), allow_head=False),
        ]

    async def lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """A `cleanup_ctx` of the application: the feed runs as long as it does."""
        running = self.supervisor.keep(self._feed.run(), "liveview feed", returns=True)
        yield
        running.cancel()
        await asyncio.wait([running])

    async def end_streams(self, _app: web.Application) -> None:
        """An `on_shutdown` of the application: open event streams must not hold it up."""
        self._feed.close()

    def install(self, app: web.Application) -> None:
        """Adds routes, lifetime and shutdown to `app`, and nothing that touches its other routes."""
        app.add_routes(self.routes())
        app.cleanup_ctx.append(self.lifetime)
        app.on_shutdown.append(self.end_streams)

    def _answering(self, handler: Handler, *, secret: bool = False) -> Handler:
        """`handler` with the security headers, errors as one line of JSON and, where `secret`, the access check."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                if secret:
                    self._access.check(request)
                response = await handler(request)
            except LiveViewError as error:
                response = _json({"error": str(error)}, error.status)
                if error.status == 401:
                    response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
                if error.retryable:
                    response.headers[hdrs.RETRY_AFTER] = "2"
            except web.HTTPException:
                raise
            except Exception:
                log.exception("%s %s failed", request.method, request.path)
                response = _json({"error": "internal error"}, 500)
            if not response.prepared:
                for name, value in HEADERS.items():
                    response.headers.setdefault(name, value)
            return response

        return answer

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._document(request, "live.html", request.path)

    async def _microphone_page(self, request: web.Request) -> web.StreamResponse:
        response = self._document(request, "mic.html", request.path.removesuffix("mic"))
        response.headers["Permissions-Policy"] = MICROPHONE_POLICY
        return response

    async def _microphone_settings(self, _request: web.Request) -> web.StreamResponse:
        if self._microphone is None:
            raise NotFound("this server takes no WebRTC: its configuration has no section [webrtc]")
        return _json(self._microphone.as_json())

    def _document(self, request: web.Request, name: str, root: str) -> web.StreamResponse:
        """A page; a token in its address becomes a cookie for everything below `root`."""
        token = request.query.get("token")
        if token is None or not self._access.needs_token:
            return self._file(request, name)
        if not self._access.accepts(token):
            refused = web.Response(body=self._assets[name], content_type="text/html", charset="utf-8", status=401)
            refused.headers[hdrs.CACHE_CONTROL] = "no-store"
            return refused
        response = web.Response(status=303, headers={hdrs.LOCATION: request.path, hdrs.CACHE_CONTROL: "no-store"})
        self._access.grant(request, response, root)
        return response

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._assets:
            raise NotFound("no such file")
        return self._file(request, name)

    def _file(self, request: web.Request, name: str) -> web.StreamResponse:
        response = web.Response(headers={hdrs.CACHE_CONTROL: "no-cache"})
        response.etag = self._etags[name]
        if any(tag.value in (self._etags[name], "*") for tag in request.if_none_match or ()):
            response.set_status(304)
            return response
        response.body = self._assets[name]
        response.content_type = CONTENT_TYPES[_suffix(name)]
        response.charset = "utf-8"
        return response

    async def _calls(self, _request: web.Request) -> web.StreamResponse:
        with _reading():
            calls = await self._view.calls()
        listed = [call | {"last_words": self._feed.last_words(call["call_id"])} for call in calls]
        return _json({"now": now(), "calls": listed})

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        call_id = _checked_call_id(request.match_info.get("call_id") or request.query.get("call_id", ""))
        snapshot = await self._read(call_id)
        if snapshot is None:
            raise NotFound("no such call, or it ended too long ago")
        return _json(
            {
                "now": now(),
                "version": snapshot.version,
                "call": snapshot.call,
                "segments": snapshot.segments,
                "dtmf": snapshot.dtmf,
                "steps": self._feed.steps(call_id),
            }
        )

    async def _read(self, call_id: str) -> CallSnapshot | None:
        with _reading():
            return await self._view.snapshot(call_id)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        call_ids = list(dict.fromkeys(map(_checked_call_id, request.query.getall("call_id", []))))
        if len(call_ids) > MAX_CALLS:
            raise BadRequest(f"a stream carries at most {MAX_CALLS} calls")
        if self._feed.pages >= self._config.max_pages:
            raise TooManyPages(f"the server has no room: all {self._config.max_pages} places for pages are taken")
        async with contextlib.AsyncExitStack() as stack:
            mailbox = stack.enter_context(self._feed.join())
            records: list[AsyncIterator[Mapping[str, Any]]] = []
            missed: list[Mapping[str, Any]] = []
            for call_id in call_ids:
                with _reading():
                    records.append(await stack.enter_async_context(self._view.subscribe(call_id)))
                missed += await self._missed(call_id, request.headers.get("Last-Event-ID", ""))
            response = web.StreamResponse(headers=HEADERS | {hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            hello = {
                "now": now(),
                "build": self._build,
                "microphone": self._microphone is not None,
                "call_ids": call_ids,
                "heartbeat_s": self._config.heartbeat_s,
                "warnings": self._warnings(),
            }
            try:
                await response.prepare(request)
                stream = PageStream(response, self._config, self._warnings)
                await stream.send(event("ready", hello))
                for record in missed:
                    await stream.send(event("record", record, position(record)))
                await stream.run(mailbox, records)
            except ConnectionResetError:
                pass  # the page went away
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()  # an orderly end would wait for the same page once more
        return response

    async def _missed(self, call_id: str, last_event_id: str) -> list[Mapping[str, Any]]:
        """What the view still holds of the call from the time of `Last-Event-ID` on, oldest first."""
        known = parse_position(last_event_id)
        snapshot = await self._read(call_id) if known else None
        if known is None or snapshot is None:
            return []
        at, record_id = known
        held = [*snapshot.segments, *snapshot.dtmf, *self._feed.steps(call_id)]
        return sorted((r for r in held if r["at"] >= at and r["event_id"] != record_id), key=lambda r: str(r["at"]))


class PageStream:
    """Writes one page's events: the list's mailbox, the selected calls' records and the heartbeat, one at a time.

    Bounded by its sources: the mailbox drops to the whole list, and the view ends a subscription that falls behind,
    which ends the stream, and the page begins anew with a snapshot.
    """

    def __init__(
        self, response: web.StreamResponse, config: LiveViewConfig, warnings: Callable[[], Sequence[str]]
    ) -> None:
        self._response = response
        self._warnings = warnings
        self._config = config
        self._turn = asyncio.Lock()

    async def send(self, message: bytes) -> None:
        """Raises `TimeoutError` or `ConnectionResetError`."""
        async with self._turn, asyncio.timeout(self._config.send_timeout_s):
            await self._response.write(message)

    async def run(self, mailbox: Mailbox, records: Sequence[AsyncIterator[Mapping[str, Any]]]) -> None:
        """Returns when the feed is closed or one of the subscriptions is over."""
        await until_first(self._forward_list(mailbox), self._beat(), *map(self._forward_records, records))

    async def _forward_list(self, mailbox: Mailbox) -> None:
        while (message := await mailbox.get()) is not None:
            await self.send(message)

    async def _forward_records(self, records: AsyncIterator[Mapping[str, Any]]) -> None:
        async for record in records:
            await self.send(event("record", record, position(record)))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.heartbeat_s)
            await self.send(event("ping", {"now": now(), "warnings": self._warnings()}))


def create_app(
    view: View,
    config: LiveViewConfig | None = None,
    microphone: Microphone | None = None,
    warnings: Callable[[], Sequence[str]] = list,
) -> web.Application:
    """An application with the page at its root; for a sub-application, the prefix needs its slash in links."""
    config = config or LiveViewConfig()
    access = Access(config.token)
    app = web.Application(middlewares=[WrongTokens(access.stats).middleware(COOKIE)])
    LivePage(view, config, microphone, access, warnings).install(app)
    return app


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turns what a view raises for a while only into `LiveViewUnavailable`."""
    try:
        yield
    except Exception as error:
        if not is_passing(error):
            raise
        log.warning("the live view cannot be read: %s", error)
        raise LiveViewUnavailable("the live view cannot be read right now") from error


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _checked_call_id(call_id: str) -> str:
    """Any that a connector takes; what it holds is data to the view and to the page."""
    if not 1 <= len(call_id) <= MAX_CALL_ID_CHARS:
        raise BadRequest(f"call_id must be 1 to {MAX_CALL_ID_CHARS} characters")
    return call_id


def _json(data: Mapping[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(data) + b"\n"
    response = web.Response(body=body, status=status, content_type="application/json")
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.enable_compression()
    return response
