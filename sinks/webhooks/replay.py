"""Dead letters of webhooks once more to the receivers that they were for, from the spool's file.

The letters of a call go one after the other, calls side by side. A receiver that does not take one after a few attempts
gets no more of that call; where that happens to several calls in a row it gets nothing more. What was not sent goes
back into the file as it was, so it may be run again. What is refused again is a dead letter again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sinks.dead_letters import Letter, Replayed, encode_letter, keep_unreadable, taken_letters, write_letters
from sinks.spool import REFUSED
from sinks.spool_file import letters_of
from sinks.webhooks.config import WebhooksConfig
from sinks.webhooks.endpoint import Endpoint, Outcome, Session, Verdict
from sinks.webhooks.order import AWAY_CALLS
from sinks.webhooks.signature import signing_key

ATTEMPTS = 3
PAUSE_S = 1.0
RETRY_AFTER_MAX_S = 60.0

_LOOK_AHEAD = 500
"""Letters that are sorted by call at a time."""


@dataclass(slots=True)
class _Receiver:
    """`given_up`: calls of which no more is sent. `failures`: such calls since it took a letter last."""

    endpoint: Endpoint
    session: Session
    slots: asyncio.Semaphore
    given_up: set[bytes] = field(default_factory=set)
    failures: int = 0

    @property
    def away(self) -> bool:
        return self.failures >= AWAY_CALLS


class WebhookReplay:
    """Runs once. `kept_why`: by the name of an endpoint, why letters for it were put back."""

    def __init__(self, config: WebhooksConfig) -> None:
        self._file = letters_of(Path(config.spool))
        self._endpoints = [Endpoint(one, signing_key(one.secret or config.secret or "")) for one in config.endpoints]
        self._receivers: dict[str, _Receiver] = {}
        self.done = Replayed()
        self.kept_why: dict[str, str] = {}

    async def run(self) -> Replayed:
        """Raises `OSError`, and `SinkUnavailable` while another process sends them."""
        async with AsyncExitStack() as sessions:
            for endpoint in self._endpoints:
                session = await sessions.enter_async_context(endpoint.session())
                self._receivers[endpoint.name] = _Receiver(endpoint, session, asyncio.Semaphore(endpoint.at_once))
            with taken_letters(self._file, self._keep_unreadable) as letters:
                while batch := list(islice(letters, _LOOK_AHEAD)):
                    await self._send(batch)
        return self.done

    async def _send(self, batch: Sequence[Letter]) -> None:
        calls: dict[tuple[str, bytes], list[Letter]] = {}
        for letter in batch:
            if _has_id(letter):
                calls.setdefault((letter.message.topic, letter.message.key), []).append(letter)
            else:
                self._keep_unreadable(encode_letter(letter))
        async with asyncio.TaskGroup() as sending:
            back = [sending.create_task(self._send_call(name, letters)) for (name, _), letters in calls.items()]
        if again := [letter for one in back for letter in one.result()]:
            write_letters(self._file, again)

    async def _send_call(self, name: str, letters: Sequence[Letter]) -> list[Letter]:
        """Returns what goes back into the file."""
        receiver = self._receivers.get(name)
        if receiver is None:
            self.kept_why[name] = "it is not among the endpoints"
            return self._kept(letters)
        back: list[Letter] = []
        async with receiver.slots:
            for at, letter in enumerate(letters):
                if receiver.away or letter.message.key in receiver.given_up:
                    return back + self._kept(letters[at:])
                outcome = await _attempt(receiver, letter)
                if outcome.verdict is Verdict.AGAIN:
                    receiver.given_up.add(letter.message.key)
                    receiver.failures += 1
                    self.kept_why[name] = outcome.why
                    return back + self._kept(letters[at:])
                receiver.failures = 0
                if outcome.verdict is Verdict.TAKEN:
                    self.done.sent += 1
                else:
                    self.done.refused += 1
                    back.append(Letter(f"{REFUSED}: {outcome.why}", letter.message, letter.at))
        return back

    def _kept(self, letters: Sequence[Letter]) -> list[Letter]:
        self.done.kept += len(letters)
        return list(letters)

    def _keep_unreadable(self, line: bytes) -> None:
        keep_unreadable(self._file, line)
        self.done.unreadable += 1


async def _attempt(receiver: _Receiver, letter: Letter) -> Outcome:
    for left in reversed(range(ATTEMPTS)):
        outcome = await receiver.endpoint.post(receiver.session, letter.message)
        if outcome.verdict is not Verdict.AGAIN or not left:
            break
        await asyncio.sleep(min(max(outcome.retry_after_s, PAUSE_S), RETRY_AFTER_MAX_S))
    return outcome


def _has_id(letter: Letter) -> bool:
    """One that can stand in a header of HTTP."""
    event_id = dict(letter.message.headers).get("event_id", b"")
    return event_id.isascii() and event_id.decode().isprintable() and event_id != b""
