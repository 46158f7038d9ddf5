"""Counters of the SIP server, read by whoever exports them."""

from collections import Counter
from dataclasses import dataclass, field

from connectors.sip.digest import DigestStats
from connectors.sip.transaction import TransactionStats
from connectors.sip.transport.peers import TransportStats
from connectors.siprec.recording_session import SiprecStats


@dataclass(slots=True)
class UasStats:
    """`refused`: requests answered with a failure, by status. `malformed`: messages answered with the parser's words or
    not at all. `ignored_headers`, `mended_headers`: of messages that were taken, header fields that cannot be read and
    that nothing needed, and those that break the grammar and have one plain meaning (`needs`, `leniency`), by name.
    `unanswered_offers`: ACKs of running calls without the answer to our offer. `ended`: calls, by reason."""

    invites: int = 0
    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    malformed: int = 0
    ignored_headers: Counter[str] = field(default_factory=Counter)
    mended_headers: Counter[str] = field(default_factory=Counter)
    unanswered_offers: int = 0
    stray_acks: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class SipStats:
    """`calls`: dialogs now. `failed`: calls that a fault of ours ended. `refused_lines`: audio lines that running calls
    wanted to add and that got no leg. `sdp_mended`, `sdp_ignored`: lines of session descriptions that were written
    wrongly and taken as they are meant, or left out. `unread_infos`: bodies of INFO of which no key could be read.
    `transport`: messages; `requests`: what the core made of them; `transactions`; `recording`: the metadata of
    recording clients; `digest`: credentials."""

    calls: int = 0
    failed: int = 0
    refused_lines: int = 0
    sdp_mended: int = 0
    sdp_ignored: int = 0
    unread_infos: int = 0
    transport: TransportStats = field(default_factory=TransportStats)
    requests: UasStats = field(default_factory=UasStats)
    transactions: TransactionStats = field(default_factory=TransactionStats)
    recording: SiprecStats = field(default_factory=SiprecStats)
    digest: DigestStats = field(default_factory=DigestStats)
