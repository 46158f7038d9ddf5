"""How well a leg is received: the interarrival jitter of RFC 3550 and the E-model of ITU-T G.107, simplified.

Of the E-model only what a receiver can know is taken: delay of packets and buffer, loss and how it is grouped
(G.107, sections 7.4 and 7.5), with the defaults for all else (R 93.2). Codecs without published narrow-band values are
rated by those of G.711 with concealment (G.113, appendix I).
"""

from dataclasses import dataclass

R_DEFAULT = 93.2
IMPAIRMENT, ROBUSTNESS = 0.0, 25.1
"""Ie and Bpl of G.711 with packet loss concealment."""

PACKET_MS = 20.0


@dataclass(slots=True)
class RtpStats:
    """One leg since it began. Of all sequence numbers from the first packet to the newest, each is `received` in time
    or `lost`; nothing is counted twice.

    `received`: packets in time, `reordered` among them behind a later one. `lost`: were not there when their time was
    up; `late` among them came afterwards. `duplicate`: came again. `ssrc_changes`: other sources took over, or the same
    one began anew. `moves`: the stream went on from another address. `payload_changes`: switches of the codec.
    `resyncs`: timestamps that made no sense and were set by the clock. `clock_changes`: times that timestamps proved to
    run at another clock than was taken; `clock_hz`: the present one, 0 where it is that of the payload type. `excess`:
    audio faster than real time that was thrown away.

    Packets that never reached the stream: `malformed`; `foreign`, from an address or source that has no part in the
    call; `unknown_payload` types (these have sequence numbers and are received, too); `unauthentic` and `replayed`
    (SRTP). RTCP datagrams: `rtcp`; among them `reports`, with something valid, and `malformed_rtcp`. `dtmf`: keys;
    `malformed_events`, `other_events`; packets of keys taken although their payload type was not agreed on
    (`unagreed_events`), or under another SSRC than the audio's (`events_beside`).

    `jitter_ms`, `wait_ms` (how long a gap is waited for), `r_factor`, `mos`, `rtt_ms`: as of the last `measure`.
    """

    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    bursts: int = 0
    ssrc_changes: int = 0
    payload_changes: int = 0
    resyncs: int = 0
    moves: int = 0
    excess: int = 0
    clock_changes: int = 0
    clock_hz: int = 0
    malformed: int = 0
    foreign: int = 0
    unknown_payload: int = 0
    unauthentic: int = 0
    replayed: int = 0
    rtcp: int = 0
    reports: int = 0
    malformed_rtcp: int = 0
    dtmf: int = 0
    malformed_events: int = 0
    other_events: int = 0
    unagreed_events: int = 0
    events_beside: int = 0
    jitter_ms: float = 0.0
    wait_ms: float = 0.0
    rtt_ms: float | None = None
    r_factor: float = R_DEFAULT
    mos: float = 4.4

    def measure(self, jitter_s: float, wait_s: float) -> None:
        """Bring the measured figures up to date."""
        self.jitter_ms, self.wait_ms = jitter_s * 1000, wait_s * 1000
        self.r_factor = r_factor(
            self.received, self.lost, self.bursts, self.wait_ms + PACKET_MS + (self.rtt_ms or 0) / 2
        )
        self.mos = mos(self.r_factor)


def r_factor(received: int, lost: int, bursts: int, delay_ms: float) -> float:
    """The transmission rating R, 0 to 93.2. `bursts`: runs of lost packets. `delay_ms`: mouth to ear."""
    expected = received + lost
    loss = lost / expected if expected else 0.0
    # BurstR: the mean run that was lost, over the mean run at random loss of the same rate
    burst_ratio = max(lost / bursts * (1 - loss), 1.0) if bursts else 1.0
    equipment = IMPAIRMENT + (95 - IMPAIRMENT) * 100 * loss / (100 * loss / burst_ratio + ROBUSTNESS)
    delay = 0.024 * delay_ms + 0.11 * max(delay_ms - 177.3, 0.0)
    return max(R_DEFAULT - delay - equipment, 0.0)


def mos(rating: float) -> float:
    """Estimated mean opinion score of a rating (G.107, annex B): 1 to 4.5."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6, 1.0)
