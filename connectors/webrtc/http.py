"""The HTTP side of WHIP (RFC 9725): requests in, sessions started, changed and ended, every refusal with its status.

POST    /whip            an offer -> 201 with the answer, Location and ETag of the session
PATCH   /whip/{session}  more ICE candidates -> 204
DELETE  /whip/{session}  the end -> 200
OPTIONS, GET             200 with what is accepted, 204 with nothing
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from connectors.origin import may_use
from connectors.webrtc.config import WebRtcConfig
from connectors.webrtc.sessions import WhipSessions
from connectors.webrtc.whip import (
    FRAGMENT_TYPE,
    OFFER_TYPE,
    IceFragment,
    Offer,
    SessionRequest,
    WhipRefused,
    accepts,
    check_entity_tag,
    finish_answer,
)

logger = logging.getLogger(__name__)

WhipHandler = Callable[[web.Request], Awaitable[web.Response]]

_ALLOWED_HEADERS = "Authorization, Content-Type, If-Match"
_EXPOSED_HEADERS = "Location, ETag, Link"


class WhipServer:
    """Serves the endpoint on `config.path`."""

    def __init__(self, sessions: WhipSessions, config: WebRtcConfig) -> None:
        self.stats = sessions.stats
        self._sessions, self._config = sessions, config
        self._token = None if config.token is None else hashlib.sha256(config.token.encode()).digest()

    def routes(self) -> list[web.RouteDef]:
        """Endpoint and sessions; other methods are answered with 405 by the router."""
        path, session = self._config.path, f"{self._config.path}/{{session}}"
        return [
            route
            for end in ("", "/")  # people and proxies add a slash
            for route in (
                web.post(path + end, self._answering(self._start)),
                web.get(path + end, self._answering(self._nothing)),
                web.options(path + end, self._options),
                web.patch(session + end, self._answering(self._add_candidates)),
                web.delete(session + end, self._answering(self._end)),
                web.get(session + end, self._answering(self._nothing)),
                web.options(session + end, self._options),
            )
        ]

    async def close(self) -> None:
        """Take no more sessions and end the running ones with their last words."""
        await self._sessions.close()

    def _answering(self, handler: WhipHandler) -> WhipHandler:
        """`handler` behind the token, with refusals as one line of text and the headers for pages of other sites."""

        async def answer(request: web.Request) -> web.Response:
            try:
                self._authorize(request)
                response = await handler(request)
            except WhipRefused as refused:
                response = web.Response(status=refused.status, text=f"{refused.reason}\n")
                if refused.status == 401:
                    response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
                if refused.status == 415:
                    response.headers[_accepted_by(request)] = _media_type(request)
                if refused.retry_after_s is not None:
                    response.headers[hdrs.RETRY_AFTER] = str(refused.retry_after_s)
            self._allow_origin(request, response)
            return response

        return answer

    async def _start(self, request: web.Request) -> web.Response:
        if not accepts(request.headers.get(hdrs.ACCEPT), OFFER_TYPE):
            raise WhipRefused(406, f"the answer is {OFFER_TYPE}")
        limits = self._config.limits
        wanted = SessionRequest.parse(list(request.query.items()), limits)
        offer = Offer.parse(await self._text(request), self._config.codecs, limits)
        session, answer = await self._sessions.start(wanted, offer)
        if offer.lines.ignored:
            self.stats.irregular += offer.lines.ignored
            level = logging.WARNING if self.stats.irregular == offer.lines.ignored else logging.DEBUG
            logger.log(
                level,
                "%s: left %d attributes of an offer out that cannot be read and are not needed",
                request.path,
                offer.lines.ignored,
            )
        response = web.Response(status=201, text=offer.lines.complete(finish_answer(answer)), content_type=OFFER_TYPE)
        response.headers[hdrs.LOCATION] = f"{request.path.rstrip('/')}/{session.session_id}"
        response.headers[hdrs.ETAG] = f'"{session.etag}"'
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        for server in self._config.ice_servers:
            response.headers.add(hdrs.LINK, _link(server.url, server.username, server.credential))
        return response

    async def _add_candidates(self, request: web.Request) -> web.Response:
        session = self._sessions.get(request.match_info["session"])
        fragment = IceFragment.parse(await self._text(request), self._config.limits)
        check_entity_tag(request.headers.get(hdrs.IF_MATCH), session.etag)
        if (fragment.ufrag, fragment.pwd) not in session.offer.ice:
            raise WhipRefused(422, "an ICE restart is not supported: start a new session")  # section 4.3.1
        await session.peer.add_candidates(fragment)
        return web.Response(status=204)

    async def _end(self, request: web.Request) -> web.Response:
        """Answered as soon as no more audio is taken; the last words may come later."""
        session = self._sessions.get(request.match_info["session"])
        self._sessions.end(session, "completed")
        return web.Response(status=200)

    async def _nothing(self, request: web.Request) -> web.Response:
        """GET has nothing to show (section 4.1)."""
        if "session" in request.match_info:
            self._sessions.get(request.match_info["session"])
        return web.Response(status=204)

    async def _options(self, request: web.Request) -> web.Response:
        """Also the question of a browser before a page of another site may ask (section 4.2)."""
        response = web.Response(status=200, headers={_accepted_by(request): _media_type(request)})
        if self._allow_origin(request, response):
            methods = "PATCH, DELETE" if "session" in request.match_info else "POST"
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = methods
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _ALLOWED_HEADERS
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "600"
        return response

    async def _text(self, request: web.Request) -> str:
        """The body. Raises `WhipRefused`: 415 for another media type, 413, 408, 400."""
        expected, limits = _media_type(request), self._config.limits
        if request.content_type != expected:
            raise WhipRefused(415, f"the body must be {expected}")
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limits.max_body_bytes:
                        raise WhipRefused(413, f"the body is longer than {limits.max_body_bytes} bytes")
        except TimeoutError:
            raise WhipRefused(408, "the body did not come in time") from None
        except (web.RequestPayloadError, ConnectionError):  # cut short, or not coded as its headers say
            raise WhipRefused(400, "the body cannot be read") from None
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            raise WhipRefused(400, "the body is not UTF-8") from None

    def _authorize(self, request: web.Request) -> None:
        """Whoever has the token; without one configured, whoever is no page of another site."""
        if self._token is None:
            if not may_use(request, self._config.origins):
                self.stats.foreign_origins += 1
                if self.stats.foreign_origins == 1:
                    origin = request.headers.get(hdrs.ORIGIN)
                    logger.warning(
                        "%s: refused a web page of %s: if it may send audio, name it in origins", request.path, origin
                    )
                raise WhipRefused(403, "pages of this origin may not use the endpoint")
            return
        scheme, _, credential = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        given = hashlib.sha256(credential.strip().encode("utf-8", "surrogatepass")).digest()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            self.stats.unsigned += 1
            raise WhipRefused(401, "the bearer token is missing or wrong")

    def _allow_origin(self, request: web.Request, response: web.Response) -> bool:
        origin, allowed = request.headers.get(hdrs.ORIGIN), self._config.origins
        if origin is None or not (origin in allowed or "*" in allowed):
            return False
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        return True


def _media_type(request: web.Request) -> str:
    return FRAGMENT_TYPE if "session" in request.match_info else OFFER_TYPE


def _accepted_by(request: web.Request) -> str:
    return "Accept-Patch" if "session" in request.match_info else "Accept-Post"


def _link(url: str, username: str | None, credential: str | None) -> str:
    """Section 4.6."""
    link = f'<{url}>; rel="ice-server"'
    for name, value in (("username", username), ("credential", credential)):
        if value is not None:
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            link += f'; {name}="{quoted}"'
    return link
