"""A gateway's side and an engine's side of the conversation in memory, the engine stepped by hand."""

from collections import defaultdict

from engine.api import Session, SessionFault, StepEvents, Word
from engine.checkpoint.weights import Checkpoint
from engine.remote.client import Client
from engine.remote.exchange import Exchange, Gateway
from engine.remote.wire import VERSION, FromEngine, Greeting, Hello, frame, from_engine, from_gateway
from tests.engine.listener import exact


class Reader:
    """What a user of the engine knows by its events; objects to broken promises."""

    def __init__(self) -> None:
        self.words: dict[Session, list[Word]] = defaultdict(list)
        self.finals: dict[Session, list[tuple[Word, ...]]] = defaultdict(list)
        self.progress: dict[Session, float] = defaultdict(float)
        self.closed: list[Session] = []
        self.opened: list[Session] = []
        self.faults: dict[Session, SessionFault] = {}
        self.states: dict[Session, list[list[object]]] = defaultdict(list)

    def receive(self, events: StepEvents) -> None:
        for hypothesis in events.hypotheses:
            words = self.words[hypothesis.session]
            assert hypothesis.session not in self.closed, "words after the end of the session"
            assert 0 <= hypothesis.first <= len(words), "a hypothesis leaves a gap"
            words[hypothesis.first :] = hypothesis.words
            self.states[hypothesis.session].append([(word.text, word.language, word.language_source) for word in words])
            if hypothesis.is_final:
                self.finals[hypothesis.session].append(tuple(words))
        for session, seconds in events.progress.items():
            assert seconds >= self.progress[session], "time went back"
            self.progress[session] = seconds
        assert set(events.faults) <= set(events.closed), "a fault of a session that goes on"
        self.closed += events.closed
        self.opened += events.opened
        self.faults |= events.faults


def plain(word: Word) -> object:
    """A word without its confidence, whose last digits depend on the rows of a batch."""
    return word.text, word.start, word.end, word.language, word.language_source, word.spaced


class Pair:
    """`client` and `engine`, every message between them through its frame. `reader` receives what the client publishes.

    `deaf`: what the engine says does not arrive any more.
    """

    def __init__(self, checkpoint: Checkpoint, *, max_sessions: int = 8, replay_s: float = 30.0) -> None:
        self.reader = Reader()
        self.checkpoint = checkpoint
        self.max_sessions = max_sessions
        self.client = Client(self._start(), replay_s)

    def _start(self) -> Hello:
        self.deaf = False
        self.engine = exact(self.checkpoint, max_sessions=self.max_sessions)
        self.engine.subscribe(self._step)
        self.exchange = Exchange(self.engine)
        self.gateway = Gateway()
        self._to_engine, self._to_client = from_gateway(), from_engine()
        (hello,) = self.exchange.receive(self.gateway, Greeting(VERSION))
        assert isinstance(hello, Hello)
        return hello

    def kill(self) -> None:
        """The engine is gone at once, with all it has not reported; nothing runs until `restart`."""
        self.engine.unsubscribe(self._step)
        self.reader.receive(self.client.disconnected())

    def restart(self) -> None:
        self.client.connected(self._start())

    def send(self) -> None:
        """What the client has for the engine goes there."""
        while self.client.has_outgoing:
            for message in self.client.collect():
                for asked in self._to_engine.feed(bytes(frame(message))):
                    for answer in self.exchange.receive(self.gateway, asked):
                        self._receive(answer)

    def step(self) -> bool:
        """Send, and one step of the engine; returns whether it had one to do."""
        self.send()
        return self.engine.step()

    def settle(self) -> None:
        """Until there is nothing to do on either side."""
        while self.step():
            pass

    def report_capacity(self) -> None:
        self._receive(self.exchange.capacity(self.gateway))

    def _step(self, events: StepEvents) -> None:
        if self.deaf:
            return
        for part in self.exchange.step(events).values():
            self._receive(part)

    def _receive(self, message: FromEngine) -> None:
        for received in self._to_client.feed(bytes(frame(message))):
            events = self.client.receive(received)
            if events is not None:
                self.reader.receive(events)
