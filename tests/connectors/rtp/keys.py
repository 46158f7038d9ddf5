"""Key presses as RTP, and those that come out of a receiver."""

from collections.abc import Sequence

from connectors.rtp.dtmf import DIGITS, EventPayload
from connectors.rtp.events import DtmfEvent
from tests.connectors.rtp.network import Arrival, Sender

UPDATE = 400  # timestamp units between two updates: 50 ms


def press(sender: Sender, digit: str, updates: int, *, ends: int = 3, base: int | None = None) -> list[Arrival]:
    """A key as RFC 4733 sends it. `sender` goes on behind it."""
    start = sender.timestamp
    packets = []
    for index in range(updates + ends):
        end = index >= updates
        duration = min((min(index, updates - 1) + 1) * UPDATE, 0xFFFF)
        payload = EventPayload(DIGITS.index(digit), end, 10, duration).encode()
        at = sender.at
        sender.timestamp = start if base is None else base
        packets.append(sender.packet(payload, payload_type=101, marker=index == 0))
        sender.at = at + (0.05 if not end else 0.001)
    sender.timestamp = start + updates * UPDATE
    return packets


def keys(events: Sequence[tuple[float, object]]) -> list[DtmfEvent]:
    return [event for _, event in events if isinstance(event, DtmfEvent)]
