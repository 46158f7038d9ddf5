"""The boundary between playback and connectors: how the packets of a leg get to its peer."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PlaybackError


class AudioOutlet(Protocol):
    """The way to the peer of one leg, given to the leg by its connector (`pipeline.leg.Leg.connect_outlet`). No method
    waits, and none raises for what a peer or the network does.

    Positions count milliseconds of audio sent through this outlet, silence that was sent included.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Of the audio that `send` takes; may change with a new agreement."""
        ...

    @property
    def packet_ms(self) -> int:
        """Length of a packet, a multiple of 5; may change with a new agreement."""
        ...

    @property
    def lead_ms(self) -> int:
        """So far ahead of its time audio is sent: 0 where the peer has a jitter buffer of its own."""
        ...

    @property
    def ready(self) -> bool:
        """Whether anything may be sent now; False on hold and after the end."""
        ...

    @property
    def fault(self) -> PlaybackError | None:
        """Why nothing more can be said this way; None while it works."""
        ...

    @property
    def sent_ms(self) -> int:
        """What was sent so far."""
        ...

    def send(self, pcm: NDArray[np.int16], at: float, *, starts: bool) -> None:
        """One packet. `pcm`: int16, `packet_ms` at `sample_rate_hz`. `at`: its place in time, monotonic seconds on an
        even grid. `starts`: the first one after a pause."""
        ...

    def confirm(self) -> None:
        """It is of interest when the peer has played what was sent so far."""
        ...

    def played_ms(self, now: float) -> int:
        """How much of what was sent the peer has played, as well as that can be known; never falls."""
        ...

    def clear(self) -> None:
        """Have the peer throw away what it has not played. All that was sent counts as played from here on."""
        ...
