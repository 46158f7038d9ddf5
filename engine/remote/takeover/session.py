"""One session as its gateway keeps it: what it was asked, what was published of it, and how both outlive an engine."""

from engine.api import SAMPLE_RATE_HZ, Hypothesis, Session, SessionOptions
from engine.remote.takeover.replay import ReplayLog
from engine.remote.takeover.transcript import PublishedTranscript
from engine.remote.wire import WireHypothesis


class RemoteSession:
    """`wire_id`: its number on the present connection. `opened`: the engine was asked to open it. `admitted`: some
    engine has said that it takes it; `again`: one before the present one. `waiting`: no slot is free for it at present.
    `lost`: engines in a row that were lost before they had caught up with this session. `given_up`: samples before this
    one will not be recognised."""

    def __init__(self, session: Session, options: SessionOptions, wire_id: int, replay_s: float) -> None:
        self.session = session
        self.options = options
        self.wire_id = wire_id
        self.opened = False
        self.admitted = False
        self.again = False
        self.waiting = False
        self.lost = 0
        self.given_up = 0
        self.replay_log = ReplayLog(session.chunk_ms, options.language, int(replay_s * SAMPLE_RATE_HZ))
        self.transcript = PublishedTranscript()

    def rewind(self, wire_id: int) -> None:
        """Begin anew with a successor of the engine: from before the splice on, or from the oldest audio there is."""
        log, chunk = self.replay_log, self.replay_log.chunk
        oldest = -(-log.audio.first // chunk) * chunk
        splice, begin_s = self.transcript.find_splice(oldest / SAMPLE_RATE_HZ)
        # On the grid of chunks, the successor's frames are those of an engine that had all audio.
        audible_from = round(begin_s * SAMPLE_RATE_HZ)
        start = max(audible_from // chunk * chunk, oldest)
        log.rewind(start, audible_from)
        self.transcript.rewind(splice, start / SAMPLE_RATE_HZ)
        self.again = self.admitted
        self.opened = self.waiting = False
        self.wire_id = wire_id

    def receive(self, received: WireHypothesis) -> Hypothesis | None:
        """Take words from the engine; returns what of them is to be published."""
        update = self.transcript.update(received.first, received.words)
        is_final = received.is_final
        if is_final:
            repeated = self.replay_log.next_final_is_repeat
            until = self.replay_log.answer_final()
            if self.transcript.catching_up and not repeated:
                update = self.transcript.catch_up(0.0, at_once=True)
            is_final = not repeated
            if update is not None:
                self.transcript.mark_ahead(update[0], until / SAMPLE_RATE_HZ)
        if update is None:
            if not is_final:
                return None
            update = self.transcript.end, ()
        return Hypothesis(self.session, *update, is_final=is_final)

    def advance(self, consumed_s: float) -> tuple[Hypothesis | None, bool]:
        """The engine has consumed `consumed_s` seconds. Returns what is to be published by it, and whether it is more
        than was known before: `transcript.consumed_s` has it then."""
        log, transcript = self.replay_log, self.transcript
        log.consumed = log.start + round(consumed_s * SAMPLE_RATE_HZ)
        hypothesis = None
        if transcript.catching_up and not log.has_repeats:
            update = transcript.catch_up(consumed_s)
            if update is not None:
                hypothesis = Hypothesis(self.session, *update, is_final=False)
        transcript.drop_before(log.audio.first / SAMPLE_RATE_HZ)
        if not transcript.catching_up:
            self.lost = 0
        return hypothesis, transcript.advance(consumed_s)
