"""What a damaged network costs in words: the bundled call through RTP, jitter buffer, concealment and recogniser."""

import pytest

from connectors.rtp.feed import LegFeed
from connectors.rtp.receiver import RtpReceiver
from engine import Engine, Session, SessionOptions, StepEvents, Word
from pipeline.call import LegStats
from pipeline.ingest import Ingest
from pipeline.intake import Intake
from tests.connectors.rtp.network import CODECS, START, Arrival, Sender, damage, play
from trunkline.demo.script import load_audio, load_script
from trunkline.wer import WordErrors, word_errors

LEGS = ("inbound", "outbound")
TICK_S = 0.5


class QueueLeg:
    intake: Intake | None = None

    def __init__(self, intake: Intake) -> None:
        self.stats = LegStats()
        self.push = intake.push

    def fail(self, error: Exception) -> None:
        raise error


class Listener:
    """Hears both legs of the call with the demo model, as many copies of it at once as there are networks."""

    def __init__(self, copies: int) -> None:
        self._engine = Engine.load(max_sessions=2 * copies)
        self._ingest = Ingest(self._engine)
        self._words: dict[Session, list[Word]] = {}
        self._engine.subscribe(self._on_step)

    def open(self) -> tuple[Session, Intake]:
        session = self._engine.open(SessionOptions(chunk_ms=160))
        self._words[session] = []
        return session, self._ingest.open(session, "call")

    def tick(self) -> None:
        self._ingest.tick()
        while self._engine.step():
            pass

    def close(self, session: Session, intake: Intake) -> str:
        self._ingest.close(intake)
        self._engine.close(session)
        while self._engine.step():
            pass
        return " ".join(word.text for word in self._words[session])

    def _on_step(self, events: StepEvents) -> None:
        for hypothesis in events.hypotheses:
            self._words[hypothesis.session][hypothesis.first :] = hypothesis.words


def errors(networks: list[dict[str, float]]) -> list[WordErrors]:
    """The word errors of the call on each of these networks."""
    script = load_script()
    listener = Listener(len(networks))
    running: list[tuple[str, Session, Intake, RtpReceiver, LegFeed, list[Arrival]]] = []
    for network in networks:
        for name, codes in zip(LEGS, load_audio(), strict=True):
            sender = Sender()
            octets = codes.tobytes()
            sent = [sender.packet(octets[at : at + 160]) for at in range(0, len(octets) - 159, 160)]
            arrivals = damage(sent, seed=len(running) + 1, **network).delivered  # type: ignore[arg-type]
            session, intake = listener.open()
            core = RtpReceiver(CODECS)
            running.append((name, session, intake, core, LegFeed(QueueLeg(intake)), arrivals))
    clock = START
    while any(arrivals for *_, arrivals in running):
        clock += TICK_S
        for _, _, _, core, feed, arrivals in running:
            count = next((index for index, arrival in enumerate(arrivals) if arrival.at > clock), len(arrivals))
            feed.deliver([event for _, event in play(core, arrivals[:count]).events])
            del arrivals[:count]
        listener.tick()
    found = [WordErrors() for _ in networks]
    for index, (name, session, intake, core, feed, _) in enumerate(running):
        feed.deliver(core.finish(clock))
        played = listener.close(session, intake)
        spoken = " ".join(line.text for line in script if line.leg == name)
        found[index // 2] += word_errors(spoken, played)
    return found


@pytest.mark.timeout(600)
def test_five_percent_loss_costs_at_most_three_points() -> None:
    clean, *damaged = errors([{}, {"loss": 0.05}, {"loss": 0.05, "jitter_s": 0.04, "duplicates": 0.02}])
    assert clean.rate < 0.1
    for one in damaged:
        assert one.rate - clean.rate <= 0.03
