"""Errors of the connectors. Those that only one module raises stand in it, those of a package in its `errors`.

ConnectorError
├── LocalProtocolError     we used a protocol core in a way its protocol does not allow
├── RemoteProtocolError    the peer broke its protocol; carries the WebSocket close code that answers it
├── StreamRefused          a well-formed stream that is not admitted; carries the close code, retryable when we are full
├── InvalidStreamUrl       a URL that no carrier would stream to
├── StreamClosed           the server closed a stream that was being played to it
├── sdp.SdpError           no session description that can be answered (400)
├── multipart.MultipartError, siprec.safe_xml.XmlError    a body or its metadata that cannot be read
├── sdp.offer_answer.NoCommonCodec    a description without a line that can be used (488)
├── codecs.errors.CodecError, rtp.errors.RtpError, sip.message.errors.SipParseError    with the trees of their packages
├── sip.dialog_call.SipRefused, webrtc.whip.WhipRefused    how a peer is answered that cannot have what it asks for
└── sip.connector.SipUnavailable, webrtc.whip.WebRtcUnavailable    the server cannot run as it is configured

`retryable` says whether the same request may succeed later without a change.
"""


class ConnectorError(Exception):
    retryable: bool = False


class LocalProtocolError(ConnectorError):
    """Our own misuse of a protocol core, such as sending audio before the stream began."""


class RemoteProtocolError(ConnectorError):
    """The peer's fault. `close_code`: RFC 6455, section 7.4.1; the message is the close reason, without content of the
    call."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class StreamRefused(ConnectorError):
    """The stream is not admitted: 1008 for one that would disturb a running call, 1013 (try again later) when full."""

    def __init__(self, close_code: int, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason
        self.retryable = retryable


class InvalidStreamUrl(ConnectorError, ValueError):
    """The URL is not one a carrier accepts for a media stream."""


class StreamClosed(ConnectorError):
    """The server closed the stream before the player had sent `stop`."""

    def __init__(self, close_code: int | None, reason: str) -> None:
        super().__init__(f"the server closed the stream with {close_code}: {reason or 'no reason given'}")
        self.close_code = close_code
        self.reason = reason
        self.retryable = close_code == 1013
