"""A reader of the engine's events that keeps what a user of the engine would know, and objects to broken promises."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from engine.api import Hypothesis, Precision, Session, SessionOptions, StepEvents, Word
from engine.checkpoint.tokenizer import Tokenizer
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.sessions.transcript import Transcript
from testing.audio import Audio
from testing.oracle import Token

Spoken = tuple[str, float, float]
"""A word's text, start and end."""


def exact(checkpoint: Checkpoint, max_sessions: int = 1) -> Engine:
    """An engine in float32, whose words are those of another implementation. In 8 bits a word may begin or end a frame
    elsewhere, wherever a sum lies on the edge between two values."""
    return Engine(checkpoint, precision=Precision.FLOAT32, max_sessions=max_sessions)


class Listener:
    """Applies every hypothesis in order; `words`, `finals` and `closed` are per session."""

    def __init__(self, engine: Engine) -> None:
        self.words: dict[Session, list[Word]] = defaultdict(list)
        self.finals: dict[Session, list[tuple[Word, ...]]] = defaultdict(list)
        self.closed: list[Session] = []
        self.hypotheses: dict[Session, list[Hypothesis]] = defaultdict(list)
        self.progress: dict[Session, float] = defaultdict(float)
        engine.subscribe(self.hear)

    def hear(self, events: StepEvents) -> None:
        """One step's events."""
        for hypothesis in events.hypotheses:
            session, words = hypothesis.session, self.words[hypothesis.session]
            assert session not in self.closed, "words after the end of the session"
            assert 0 <= hypothesis.first <= len(words), "a hypothesis leaves a gap"
            words[hypothesis.first :] = hypothesis.words
            self.hypotheses[session].append(hypothesis)
            if hypothesis.is_final:
                self.finals[session].append(tuple(words))
        for session in events.closed:
            assert session not in self.closed
            self.closed.append(session)
        for session, seconds in events.progress.items():
            assert seconds >= self.progress[session], "time went back"
            self.progress[session] = seconds


def settle(engine: Engine) -> None:
    """Step until nothing is ready."""
    while engine.step():
        pass


def cut(audio: Audio, sizes: Iterable[int]) -> list[Audio]:
    """The audio in pieces of the given sizes, the rest in one."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(audio[at : at + size])
        at += size
    return [*pieces, audio[at:]]


def transcribe(engine: Engine, calls: Sequence[tuple[Audio, SessionOptions]], packet: int = 1_600) -> list[list[Word]]:
    """All calls at the same time, each to its end, in packets, stepping as audio comes."""
    listener = Listener(engine)
    sessions = [engine.open(options) for _, options in calls]
    for at in range(0, max(len(audio) for audio, _ in calls), packet):
        for session, (audio, _) in zip(sessions, calls, strict=True):
            if at < len(audio):
                engine.push(session, audio[at : at + packet])
        settle(engine)
    for session in sessions:
        engine.close(session)
    settle(engine)
    assert sorted(listener.closed, key=lambda s: s.id) == sessions
    return [listener.words[session] for session in sessions]


def spoken(words: Iterable[Word]) -> list[Spoken]:
    """What of words must equal a reference."""
    return [(word.text, word.start, word.end) for word in words]


def assembled(tokenizer: Tokenizer, tokens: Iterable[Token], configured: str | None = None) -> list[Spoken]:
    """Words of a reference's tokens, put together as the engine does."""
    transcript = Transcript(tokenizer, configured)
    words: list[Word] = []
    for token in tokens:
        transcript.add(token.piece, token.frame, 1.0)
        if (changed := transcript.take()) is not None:
            words[changed[0] :] = changed[1]
    if (changed := transcript.take(last=True)) is not None:
        words[changed[0] :] = changed[1]
    return spoken(words)
