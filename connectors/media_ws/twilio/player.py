"""Twilio's side of Media Streams: plays two tracks to a server through the real protocol, in real time, and what the
server sends to be played from a buffer with marks.

Used by the demo, the load tests and the tests of the driver.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray

from connectors.errors import StreamClosed
from connectors.media_ws.track import Track
from connectors.media_ws.twilio import messages as wire
from connectors.media_ws.twilio import signature
from supervision import cancel_and_wait

CHUNK = 160
"""Samples of a media message: 20 ms."""

CHUNK_MS = 20

CLOSE_TIMEOUT_S = 5.0
"""How long the server may take to close after `stop`."""


@dataclass(slots=True)
class PlayerReport:
    """What went over the socket. `played`: samples that the server sent to be played into the call; `heard`: the codes
    of those that were played, `marks` of those that came back. `behind_s`: how late the latest message went out against
    its schedule."""

    messages: int = 0
    media: dict[Track, int] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    played: int = 0
    heard: bytearray = field(default_factory=bytearray)
    cleared: int = 0
    behind_s: float = 0.0
    close_code: int | None = None


class TwilioPlayer:
    """One stream. `inbound`, `outbound`: uint8 (T,) mu-law codes at 8 kHz, None for a track that is not streamed.

    `pace`: media seconds in a second, 1.0 is real time; 0 sends without waiting. `auth_token`: sign the upgrade as
    Twilio does, over `signed_url`, by default the URL with the `wss` scheme. The SIDs are made up where not given.
    """

    def __init__(
        self,
        url: str,
        inbound: NDArray[np.uint8] | None,
        outbound: NDArray[np.uint8] | None,
        *,
        parameters: Mapping[str, str] | None = None,
        call_sid: str | None = None,
        stream_sid: str | None = None,
        account_sid: str = "AC" + "0" * 32,
        pace: float = 1.0,
        auth_token: str | None = None,
        signed_url: str | None = None,
    ) -> None:
        tracks = {Track.INBOUND: inbound, Track.OUTBOUND: outbound}
        self.tracks = {track: codes for track, codes in tracks.items() if codes is not None}
        if not self.tracks:
            raise ValueError("a stream needs at least one track")
        self.url = url
        self.call_sid = call_sid or "CA" + secrets.token_hex(16)
        self.stream_sid = stream_sid or "MZ" + secrets.token_hex(16)
        self.account_sid = account_sid
        self.report = PlayerReport(media=dict.fromkeys(self.tracks, 0))
        self._parameters = dict(parameters or {})
        self._pace = pace
        self._headers: dict[str, str] = {}
        if auth_token is not None:
            signed = signed_url or urlsplit(url)._replace(scheme="wss").geturl()
            self._headers[signature.HEADER] = signature.sign(auth_token, signed)
        self._sequence = 0
        self._to_play: deque[bytes | wire.MarkBody] = deque()
        self._has_more = asyncio.Event()

    async def play(self, session: aiohttp.ClientSession | None = None) -> PlayerReport:
        """Connect, play to the end, say `stop` and close.

        Raises `StreamClosed` when the server closes before that, and `aiohttp.ClientError` when there is no connection
        or the upgrade is refused.
        """
        if session is None:
            async with aiohttp.ClientSession() as own:
                return await self.play(own)
        async with session.ws_connect(self.url, headers=self._headers, compress=0) as ws:
            reader, sender = asyncio.create_task(self._read(ws)), asyncio.create_task(self._send(ws))
            try:
                await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
                if not sender.done() or isinstance(sender.exception(), ConnectionError):
                    reason = await reader
                    raise StreamClosed(ws.close_code, reason)
                sender.result()
                await asyncio.wait({reader}, timeout=CLOSE_TIMEOUT_S)
            finally:
                await cancel_and_wait(sender, reader)
        self.report.close_code = ws.close_code
        return self.report

    async def _send(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_str(wire.encode(wire.ConnectedMessage()))
        await ws.send_str(wire.encode(self._start()))
        loop = asyncio.get_running_loop()
        began = loop.time()
        longest = max(codes.size for codes in self.tracks.values())
        for index in range(0, longest, CHUNK):
            if self._pace > 0:
                # The schedule is absolute, so that a late wake-up does not delay what follows.
                delay = began + (index + CHUNK) / CHUNK * CHUNK_MS / 1000 / self._pace - loop.time()
                self.report.behind_s = max(self.report.behind_s, -delay)
            else:
                delay = 0.0
            await asyncio.sleep(max(delay, 0.0))
            for track, codes in self.tracks.items():
                if index < codes.size:
                    await ws.send_str(wire.encode(self._media(track, codes[index : index + CHUNK], index)))
        body = wire.StopBody(self.account_sid, self.call_sid)
        await ws.send_str(wire.encode(wire.StopMessage(self._next_sequence(), self.stream_sid, body)))

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> str:
        """Until the socket closes. The reason of the close."""
        playing = asyncio.create_task(self._play_out(ws))
        try:
            while True:
                message = await ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return str(message.extra or "")
                match wire.decode_server(message.data):
                    case wire.PlayMessage(media=media):
                        self.report.played += len(media.payload)
                        self._to_play.append(media.payload)
                    case wire.PlayMarkMessage(mark=mark):
                        self._to_play.append(mark)
                    case wire.ClearMessage():
                        self.report.cleared += 1
                        left = [one for one in self._to_play if isinstance(one, wire.MarkBody)]
                        self._to_play.clear()
                        for mark in left:
                            await self._send_back(ws, mark)
                self._has_more.set()
        finally:
            await cancel_and_wait(playing)

    async def _play_out(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """What the server sends is played in real time, or at `pace`, one after the other; a mark comes back when it is
        its turn."""
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        while True:
            while not self._to_play:
                self._has_more.clear()
                await self._has_more.wait()
                free_at = max(free_at, loop.time())
            one = self._to_play.popleft()
            if isinstance(one, wire.MarkBody):
                await self._send_back(ws, one)
                continue
            self.report.heard += one
            if self._pace > 0:
                free_at += len(one) / wire.SAMPLE_RATE_HZ / self._pace
                await asyncio.sleep(free_at - loop.time())

    async def _send_back(self, ws: aiohttp.ClientWebSocketResponse, mark: wire.MarkBody) -> None:
        self.report.marks.append(mark.name)
        await ws.send_str(wire.encode(wire.MarkMessage(self._next_sequence(), self.stream_sid, mark)))

    def _start(self) -> wire.StartMessage:
        body = wire.StartBody(
            self.stream_sid,
            self.account_sid,
            self.call_sid,
            tuple(str(track) for track in self.tracks),
            wire.MediaFormatBody(wire.ENCODING, wire.SAMPLE_RATE_HZ, 1),
            self._parameters,
        )
        return wire.StartMessage(self._next_sequence(), self.stream_sid, body)

    def _media(self, track: Track, codes: NDArray[np.uint8], at: int) -> wire.MediaMessage:
        self.report.media[track] += 1
        timestamp_ms = at * CHUNK_MS // CHUNK
        body = wire.MediaBody(
            track=track, chunk=str(self.report.media[track]), timestamp=str(timestamp_ms), payload=codes.tobytes()
        )
        return wire.MediaMessage(self._next_sequence(), self.stream_sid, body)

    def _next_sequence(self) -> str:
        self._sequence += 1
        self.report.messages += 1
        return str(self._sequence)
