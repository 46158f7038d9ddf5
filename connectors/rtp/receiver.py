"""One leg's RTP and RTCP from the network, without a socket: datagrams and time in, events and reports out.

Chain: socket -> this: [SRTP] -> address and source -> `stream.RtpStream` -> events -> `feed.LegFeed` -> the leg's queue
in the pipeline. No input makes it raise; what cannot be used is counted in `stats`.
"""

import secrets
from collections.abc import Sequence

from connectors.rtp.errors import MalformedRtp, SrtpRefused, SrtpReplayed
from connectors.rtp.events import Bye, RtpEvent
from connectors.rtp.in_order import InOrderState
from connectors.rtp.latching import ELSEWHERE, NEWCOMER, OTHER_HOST, RELATCH_S, Address, Moving, Probation
from connectors.rtp.packet import RtpPacket, is_rtcp
from connectors.rtp.quality import RtpStats
from connectors.rtp.rtcp import (
    CNAME,
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    encode_compound,
    parse_compound,
)
from connectors.rtp.srtp import SrtpReceiver
from connectors.rtp.stream import RtpStream
from connectors.sdp.rtp_codec import RtpCodec

_NTP_UNIT = 1 << 32


class RtpReceiver:
    """`codecs`: every payload type that the peer may send. `signalled`: its address by the session description.
    `symmetric`: packets from elsewhere may take over. `srtp`: opens what the peer seals. `started_at`: the time of
    pts 0, by default that of the first packet.

    `stats` counts from the beginning of the leg, whatever changes. `peer`: where packets come from, to which ours go;
    None before the first one. No address is believed without packets that fit (`latching`).
    """

    def __init__(
        self,
        codecs: Sequence[RtpCodec],
        *,
        signalled: Address | None = None,
        symmetric: bool = True,
        srtp: SrtpReceiver | None = None,
        started_at: float | None = None,
        ssrc: int | None = None,
        cname: str | None = None,
    ) -> None:
        self.stats = RtpStats()
        self.peer: Address | None = None
        self.rtcp_peer: Address | None = None
        self.ssrc = secrets.randbits(32) if ssrc is None else ssrc
        self._cname = (cname or secrets.token_urlsafe(12)).encode()[:255]  # RFC 7022, section 4.2
        self._stream = RtpStream(codecs, self.stats, started_at)
        self.state: InOrderState = self._stream.state
        self._signalled, self._symmetric, self._srtp = signalled, symmetric, srtp
        self._probation, self._moving = Probation(), Moving()
        self._sign_of_life_at = 0.0
        self._left = False
        self._counted_before = 0
        self._last_report = (0, 0)
        self._sender_report: tuple[int, float] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the last packet may have brought `next_timer` nearer; False for packets in order."""
        return self._stream.waiting

    @property
    def key_pressed(self) -> bool:
        """Whether a key press is not over yet."""
        return self._stream.key_pressed

    @property
    def secured(self) -> bool:
        """Whether packets come under SRTP."""
        return self._srtp is not None

    @property
    def arrived(self) -> float:
        """When the last packet of the stream came; 0 before the first."""
        return self._stream.arrived

    @property
    def alive_at(self) -> float:
        """When the peer last gave a sign of life: a packet of the stream, another one of its host, or a valid report; 0
        before the first."""
        return max(self._stream.arrived, self._sign_of_life_at)

    def update(self, codecs: Sequence[RtpCodec], signalled: Address | None, srtp: SrtpReceiver | None) -> None:
        """A new agreement. Where it moves the peer, its new address is looked for; the stream goes on. `signalled`
        None, as in a hold by 0.0.0.0, moves nobody."""
        self._stream.update(codecs)
        if signalled is not None and signalled != self._signalled:
            self._signalled = signalled
            self.peer = self.rtcp_peer = None
            self._probation.clear()
        self._srtp = srtp

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram of the RTP port, RTCP among them where both share it."""
        if address == self.peer and self._srtp is None and self.state.receive_next(data, now):
            return
        if is_rtcp(data):
            self.receive_rtcp(data, address, now)
            return
        self._receive(data, address, now)
        self.stats.foreign += self._probation.dropped
        self._probation.dropped = 0

    def receive_rtcp(self, data: bytes, address: Address, now: float) -> None:
        """A datagram of the RTCP port."""
        stats = self.stats
        host = (self.peer or self._signalled or address)[0]
        if address[0] != host:
            stats.foreign += 1
            return
        if self._srtp is not None:
            try:
                data = self._srtp.open_rtcp(data)
            except SrtpRefused as error:
                self._refuse(error)
                return
        packets, error_ = parse_compound(data)
        stats.rtcp += 1
        stats.malformed_rtcp += error_ is not None
        if packets:
            self.rtcp_peer = address
            self._sign_of_life_at = now
            stats.reports += 1
        for packet in packets:
            self._receive_report(packet, now)

    def take(self, now: float) -> list[RtpEvent]:
        """Everything that is due, in order."""
        due = self._stream.next_timer(now)
        if due is not None and now >= due:
            self._stream.handle_timer(now)
        return self.taken()

    def taken(self) -> list[RtpEvent]:
        """What `receive` has brought, without a look at the clock."""
        state = self.state
        events, state.events = state.events, []
        return events

    def next_timer(self, now: float) -> float | None:
        """When `take` has something to do if nothing more comes."""
        return self._stream.next_timer(now)

    def finish(self, now: float) -> list[RtpEvent]:
        """The leg ends: what still waits, gaps or not."""
        self._stream.finish(now)
        self._probation.clear()
        self.stats.foreign += self._probation.dropped
        self._probation.dropped = 0
        self.measure(now)
        return self.taken()

    def measure(self, now: float) -> None:
        """Bring jitter, R and MOS in `stats` up to date."""
        self.stats.measure(self.state.jitter_s, self._stream.wait_s(now))

    def report(self, now: float, sent: tuple[int, int, int] | None = None) -> bytes:
        """A compound packet: a report on the peer's stream, and our CNAME (RFC 3550, section 6.4).

        `sent`: RTP timestamp of now, packets and octets of what we send; without it a receiver report.
        """
        self.measure(now)
        blocks = () if self.state.ssrc is None else (self._report_block(self.state.ssrc, now),)
        report: RtcpPacket
        if sent is None:
            report = ReceiverReport(self.ssrc, blocks)
        else:  # without a wall clock NTP time may be any elapsed time (section 6.4.1)
            timestamp, packets, octets = (value & 0xFFFFFFFF for value in sent)
            report = SenderReport(
                self.ssrc, int(now * _NTP_UNIT) & 0xFFFFFFFFFFFFFFFF, timestamp, packets, octets, blocks
            )
        return encode_compound([report, SourceDescription(((self.ssrc, ((CNAME, self._cname),)),))])

    def goodbye(self) -> bytes:
        """The compound packet that ends our part (section 6.6)."""
        return encode_compound([ReceiverReport(self.ssrc), Goodbye((self.ssrc,))])

    def _receive(self, data: bytes, address: Address, now: float) -> None:
        stats, stream = self.stats, self._stream
        if self._srtp is not None:
            try:
                data = self._srtp.open(data)
            except SrtpRefused as error:
                self._refuse(error)
                return
        if address == self.peer and self.state.receive_next(data, now):
            return
        try:
            packet = RtpPacket.parse(data)
        except MalformedRtp:
            stats.malformed += 1
            return
        known = packet.ssrc == self.state.ssrc
        if address == self.peer and known and stream.receive(packet, now):
            return
        self._note_sign_of_life(address, now)
        if address == self.peer and not known and stream.receive_separate_event(packet, now):
            return
        if known and self._symmetric and self.peer not in (None, address) and self._has_moved(packet, address, now):
            return
        needed = self._needed(address, packet, now)
        if needed is None:
            stats.foreign += 1
        elif self._probation.add(address, packet, now, stats.received) >= needed:
            self.peer = address
            for index, (held, arrival) in enumerate(self._probation.take()):
                if held.ssrc != self.state.ssrc or not stream.receive(held, arrival):
                    if index == 0:
                        self._begin(held, arrival)
                    stream.receive(held, arrival)

    def _needed(self, address: Address, packet: RtpPacket, now: float) -> int | None:
        """How many packets in a row this one's source needs to be believed; None: it is not to be."""
        if not self._stream.knows(packet.payload_type):
            return None
        signalled = self._signalled is None or address[:2] == self._signalled
        if address == self.peer:
            return 1 if self._left else NEWCOMER
        if self.peer is None:
            return 1 if signalled else ELSEWHERE if self._symmetric else None
        if signalled and self._signalled is not None:
            return NEWCOMER
        return ELSEWHERE if self._symmetric and now - self.arrived >= RELATCH_S else None

    def _note_sign_of_life(self, address: Address, now: float) -> None:
        """A packet of no use that keeps a way open (RFC 6263) is a sign of life where it comes from the peer's host."""
        expected = self.peer or self._signalled
        if expected is None or expected[0] == address[0]:
            self._sign_of_life_at = now

    def _has_moved(self, packet: RtpPacket, address: Address, now: float) -> bool:
        """A packet with the stream's SSRC from another address; False where it does not go on with the stream."""
        stream = self._stream
        assert self.peer is not None
        if not stream.knows(packet.payload_type) or not stream.is_next(packet.sequence):
            return False
        self.stats.foreign += 1
        near = address[0] == self.peer[0] or now - self.arrived >= RELATCH_S
        held = self._moving.add(address, packet, now, self.stats.received, ELSEWHERE if near else OTHER_HOST)
        if held:
            self.stats.foreign -= len(held)
            self.stats.moves += 1
            self.peer = address
            self._probation.clear()
            for one, arrival in held:
                stream.receive(one, arrival)
        return True

    def _begin(self, packet: RtpPacket, now: float) -> None:
        self._stream.begin(packet.ssrc, packet.sequence, now)
        self._left = False
        self._counted_before = self._counted
        self._last_report = (0, 0)
        self._sender_report = None

    def _refuse(self, error: SrtpRefused) -> None:
        if isinstance(error, SrtpReplayed):
            self.stats.replayed += 1
        else:
            self.stats.unauthentic += 1

    @property
    def _counted(self) -> int:
        """Packets of the stream as RFC 3550 counts them: late ones and duplicates, too (appendix A.3)."""
        return self.stats.received + self.stats.late + self.stats.duplicate

    def _receive_report(self, packet: RtcpPacket, now: float) -> None:
        match packet:
            case SenderReport(ssrc, ntp) if ssrc == self.state.ssrc:
                self._sender_report = (ntp >> 16 & 0xFFFFFFFF, now)
            case Goodbye(sources, reason) if self.state.ssrc in sources and not self._left:
                self._left = True
                self._stream.finish(now)
                self.state.events.append(Bye(reason.decode("utf-8", "replace")))
        if isinstance(packet, SenderReport | ReceiverReport):
            for block in packet.blocks:
                if block.ssrc == self.ssrc and block.last_sr:
                    trip = (int(now * 0x10000) - block.last_sr - block.delay_since_sr) & 0xFFFFFFFF
                    if trip < 0x10000 * 60:  # more is a peer's wrong arithmetic
                        self.stats.rtt_ms = trip / 65.536

    def _report_block(self, ssrc: int, now: float) -> ReportBlock:
        """Appendix A.3."""
        stream = self._stream
        expected = stream.highest_sequence - stream.first_sequence + 1
        received = self._counted - self._counted_before
        new_expected, new_received = expected - self._last_report[0], received - self._last_report[1]
        self._last_report = (expected, received)
        new_lost = max(new_expected - new_received, 0)
        last_sr, delay = 0, 0
        if self._sender_report is not None:
            last_sr, delay = self._sender_report[0], int((now - self._sender_report[1]) * 0x10000)
        return ReportBlock(
            ssrc,
            fraction_lost=min(256 * new_lost // new_expected, 255) if new_expected > 0 else 0,
            lost=expected - received,
            highest_sequence=stream.highest_sequence & 0xFFFFFFFF,
            jitter=int(self.state.jitter),
            last_sr=last_sr,
            delay_since_sr=delay,
        )
