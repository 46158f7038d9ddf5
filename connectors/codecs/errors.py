"""Errors of the codecs.

ConnectorError
└── CodecError               no decoder or encoder can be had
    ├── UnsupportedCodec     a codec that is not among ours, or parameters of it that are not
    └── CodecUnavailable     one of ours whose library is not installed; the message names the package

A damaged packet is no error: decoders count it.
"""

from connectors.errors import ConnectorError


class CodecError(ConnectorError):
    """Base of the errors of this package."""


class UnsupportedCodec(CodecError):
    """No decoder or encoder of ours has this name, rate or number of channels."""


class CodecUnavailable(CodecError):
    """The library that does the work is missing on this machine."""
