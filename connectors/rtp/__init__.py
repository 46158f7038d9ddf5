"""RTP for the legs of telephone calls: receiving on real networks, a bot's audio to the peer.

Chain of a leg: socket -> SRTP -> address and source -> sequence -> jitter buffer -> media time -> [this package ends]
-> the leg's queue, in its codec -> tick. G.711 in order passes by all this, many legs at a time (`bulk`). Everything
but `endpoint`, `leg`, `ports`, `reader` and `transport` is without sockets and clocks.
"""

from connectors.rtp.config import RtpConfig
from connectors.rtp.endpoint import RtpEndpoint
from connectors.rtp.errors import NoFreePort, RtpError, UnsupportedSuite
from connectors.rtp.events import Audio, Bye, DtmfEvent, RtpEvent, Silence
from connectors.rtp.outlet import RtpOutlet
from connectors.rtp.packet import RtpPacket
from connectors.rtp.ports import PortPool
from connectors.rtp.quality import RtpStats
from connectors.rtp.receiver import RtpReceiver

__all__ = [
    "Audio",
    "Bye",
    "DtmfEvent",
    "NoFreePort",
    "PortPool",
    "RtpConfig",
    "RtpEndpoint",
    "RtpError",
    "RtpEvent",
    "RtpOutlet",
    "RtpPacket",
    "RtpReceiver",
    "RtpStats",
    "Silence",
    "UnsupportedSuite",
]
