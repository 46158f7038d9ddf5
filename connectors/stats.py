"""Counters of a connector, read by whoever exports them."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ConnectorStats:
    """Sockets: `upgrades` accepted, `unsigned` refused for their signature or token, `foreign_origins` for the web page
    they come from, `bad_upgrades` as no WebSocket, `crowded` for too many without a stream, `pending` without a stream
    now, `closed` by close code where it was not 1000.

    Streams: `started`, `active` now, `refused` for what they are, `turned_away` for want of capacity, `ended` by
    reason, `unknown_languages` that became the default. Messages, added when a stream ends: `packets`, `lost`, `late`,
    `duplicates`, `malformed`, `unknown_events`; `irregular` ones are not as the protocol has them and were taken;
    `implausible`: sequence numbers and timestamps not believed; `restarts`: the peer of a stream began to count anew.
    """

    upgrades: int = 0
    unsigned: int = 0
    foreign_origins: int = 0
    bad_upgrades: int = 0
    crowded: int = 0
    pending: int = 0
    closed: Counter[int] = field(default_factory=Counter)
    started: int = 0
    active: int = 0
    refused: int = 0
    turned_away: int = 0
    unknown_languages: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    malformed: int = 0
    unknown_events: int = 0
    irregular: int = 0
    implausible: int = 0
    restarts: int = 0
