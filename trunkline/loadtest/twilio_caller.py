"""Calls by Twilio Media Streams: one WebSocket a call, all tracks on it."""

import os
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar

import aiohttp

from connectors.errors import StreamClosed
from connectors.media_ws import TwilioPlayer
from connectors.media_ws.twilio.player import CHUNK
from trunkline.loadtest.outcome import CallOutcome
from trunkline.loadtest.script import RATE_HZ, CallScript

CONNECT_S = 10.0
REFUSAL_S = 2.0
"""A stream that the server closes within this much audio was refused: the answer to `start` comes while it plays."""


class TwilioCaller:
    """`url`: ws:// or wss:// of the endpoint. `auth_token`, `signed_url`: as for `TwilioPlayer`."""

    kind = "twilio"
    setup = "WebSocket upgrade"

    def __init__(
        self,
        url: str,
        script: CallScript,
        *,
        parameters: Mapping[str, str],
        auth_token: str | None = None,
        signed_url: str | None = None,
    ) -> None:
        self.tracks = tuple(track.name for track in script.tracks)
        self._url, self._script, self._parameters = url, script, dict(parameters)
        self._auth_token, self._signed_url = auth_token, signed_url
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(_note_answer)
        self._session = aiohttp.ClientSession(
            trace_configs=[trace], connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(CONNECT_S)
        )

    def new_key(self) -> str:
        return "CA" + secrets.token_hex(16)

    async def call(self, key: str, play_s: float) -> CallOutcome:
        assert self._session is not None
        samples = int(play_s * RATE_HZ)
        codes = {track.name: track.codes[:samples] for track in self._script.tracks}
        player = TwilioPlayer(
            self._url,
            codes.get("inbound"),
            codes.get("outbound"),
            parameters=self._parameters,
            call_sid=key,
            auth_token=self._auth_token,
            signed_url=self._signed_url,
        )
        outcome = CallOutcome(key)
        began = time.monotonic()
        _answered.set(None)
        try:
            await player.play(self._session)
        except StreamClosed as error:
            outcome.broken = f"closed with {error.close_code}: {error.reason or 'no reason given'}"
        except aiohttp.WSServerHandshakeError as error:
            outcome.refused = f"upgrade answered with {error.status}"
        except TimeoutError:
            outcome.refused = f"no answer within {CONNECT_S:g} s"
        except aiohttp.ClientConnectorError as error:
            outcome.refused = f"no connection: {os.strerror(error.os_error.errno or 0)}"
        except (aiohttp.ClientError, OSError) as error:
            outcome.refused = f"no connection: {type(error).__name__}"
        media = player.report.media
        outcome.packets, outcome.behind_s = sum(media.values()), player.report.behind_s
        outcome.played_s = max(media.values()) * CHUNK / RATE_HZ
        answered = _answered.get()
        if outcome.broken is not None and outcome.played_s < REFUSAL_S:
            outcome.refused, outcome.broken = outcome.broken, None
        if answered is not None and outcome.refused is None:
            outcome.setup_ms = 1000 * (answered - began)
        return outcome

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


_answered: ContextVar[float | None] = ContextVar("answered", default=None)
"""When the upgrade of the call of this task was answered."""


async def _note_answer(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
    if end.response.status == 101:
        _answered.set(time.monotonic())
