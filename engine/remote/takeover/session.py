"""One session as its gateway keeps it: what it was asked, what was told of it, and how the two outlive an engine."""

from engine.api import SAMPLE_RATE_HZ, Hypothesis, Session, SessionOptions
from engine.remote.takeover.replay import Script
from engine.remote.takeover.transcript import Account
from engine.remote.wire import Told


class RemoteSession:
    """`wire_id`: its number on the present connection. `opened`: the engine was asked to open it. `admitted`: some
    engine has said that it takes it; `again`: one before the present one. `waiting`: there is no room for it at
    present. `lost`: engines in a row that were lost before they had caught up with this session. `given_up`: samples
    before this one will not be heard."""

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
        self.script = Script(session.chunk_ms, options.language, int(replay_s * SAMPLE_RATE_HZ))
        self.account = Account()

    def rewind(self, wire_id: int) -> None:
        """Begin anew with a successor of the engine: from before the seam on, or from the oldest audio there is."""
        script, chunk = self.script, self.script.chunk
        oldest = -(-script.tape.first // chunk) * chunk
        seam, begin_s = self.account.find_seam(oldest / SAMPLE_RATE_HZ)
        # On the grid of chunks, the successor's frames are those of an engine that heard all.
        audible = round(begin_s * SAMPLE_RATE_HZ)
        start = max(audible // chunk * chunk, oldest)
        script.rewind(start, audible)
        self.account.rewind(seam, start / SAMPLE_RATE_HZ)
        self.again = self.admitted
        self.opened = self.waiting = False
        self.wire_id = wire_id

    def tell(self, told: Told) -> Hypothesis | None:
        """Take words from the engine; returns what of them is news."""
        news = self.account.tell(told.first, told.words)
        is_final = told.is_final
        if is_final:
            repeated = self.script.repeated
            until = self.script.answered()
            if self.account.rehearsing and not repeated:
                news = self.account.catch_up(0.0, at_once=True)
            is_final = not repeated
            if news is not None:
                self.account.tell_ahead(news[0], until / SAMPLE_RATE_HZ)
        if news is None:
            if not is_final:
                return None
            news = self.account.words, ()
        return Hypothesis(self.session, *news, is_final=is_final)

    def hear(self, heard_s: float) -> tuple[Hypothesis | None, bool]:
        """The engine has consumed `heard_s` seconds. Returns what became news by it, and whether it is more than was
        known before: `account.heard_s` has it then."""
        script, account = self.script, self.account
        script.heard = script.start + round(heard_s * SAMPLE_RATE_HZ)
        hypothesis = None
        if account.rehearsing and not script.repeats:
            news = account.catch_up(heard_s)
            if news is not None:
                hypothesis = Hypothesis(self.session, *news, is_final=False)
        account.forget(script.tape.first / SAMPLE_RATE_HZ)
        if not account.rehearsing:
            self.lost = 0
        return hypothesis, account.hear(heard_s)
