"""Errors of RTP.

RtpError                   a `ConnectorError`
├── MalformedRtp           octets that are no RTP packet
├── MalformedRtcp          octets that are no RTCP packet
├── MalformedEvent         octets that are no telephone-event payload
├── SrtpRefused            a protected packet that must not be used
│   ├── SrtpUnauthentic    its authentication tag is wrong, or it cannot be one of this context
│   └── SrtpReplayed       it was received before, or is older than the window of its context
├── UnsupportedSuite       a crypto suite or key length that SDES contexts cannot be made of
└── NoFreePort             every port of the pool is taken (retryable)

The receiver counts the first three groups; none of them leaves it.
"""

from connectors.errors import ConnectorError


class RtpError(ConnectorError):
    pass


class MalformedRtp(RtpError):
    pass


class MalformedRtcp(RtpError):
    pass


class MalformedEvent(RtpError):
    pass


class SrtpRefused(RtpError):
    pass


class SrtpUnauthentic(SrtpRefused):
    pass


class SrtpReplayed(SrtpRefused):
    pass


class UnsupportedSuite(RtpError):
    pass


class NoFreePort(RtpError):
    retryable = True
