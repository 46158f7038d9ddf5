"""What a file without the first bytes of any audio format is instead: a page, a message, an archive, a piece of a file.

Downloads that failed leave such files under the name of a recording. As audio without a header they would be noise.
"""

import re

from pipeline.containers.source import ByteSource

_HEAD = 4096
_SHOWN = 60
_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"PK\x03\x04", "is a zip archive: unpack it and give what is in it"),
    (b"\x1f\x8b\x08", "is compressed with gzip: unpack it and give what is in it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it and give what is in it"),
    (b"%PDF-", "is a PDF document, not audio"),
    (b"\x1f\x43\xb6\x75", "is a piece of a WebM or Matroska file: put it behind the piece with the beginning"),
)
_PIECES_OF_MP4 = b"moof", b"styp", b"sidx", b"prft"
_INSIDE = re.compile(
    rb"(?:RIFF|RIFX|RF64|BW64)....WAVE|fLaC\0|OggS\0|caff\0\x01|FORM....AIF[FC]|\x1a\x45\xdf\xa3.{1,64}?(?:webm|matroska)",
    re.DOTALL,
)
_NAMES = {b"R": "WAV", b"B": "WAV", b"f": "FLAC", b"O": "Ogg", b"c": "CAF", b"F": "AIFF", b"\x1a": "WebM or Matroska"}
_SEARCHED = 1 << 17
_MARKUP = re.compile(rb"<(?:\?xml|!doctype|!--|html|head|body|error|response|\w*response)[\s>]", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\r\n]+")


def not_audio(source: ByteSource) -> str | None:
    """What the file is and what to do, as a sentence without a subject; None where it may be audio without a header."""
    head = source.at(0, _HEAD)
    for beginning, sentence in _BEGINNINGS:
        if head.startswith(beginning):
            return sentence
    if head[4:8] in _PIECES_OF_MP4:
        return "is a piece of an MP4 file: put it behind the piece with the beginning (`moov`)"
    return _with_audio_inside(source) or _text(head)


def _with_audio_inside(source: ByteSource) -> str | None:
    """A recording behind something else: the header of a reply or a form, a mark, the pieces in another order."""
    found = _INSIDE.search(source.at(0, _SEARCHED))
    if found is None:
        return None
    name = _NAMES[found[0][:1]]
    return (
        f"begins with {found.start():,} bytes that are no audio format, and then with a {name} file: cut them off "
        f"(tail -c +{found.start() + 1}), or put its pieces in order"
    )


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    shown = " ".join(text[:_SHOWN].decode("ascii", "replace").split())
    if _MARKUP.match(text):
        return f"is a web page or a message, not audio: it begins with {shown!r}"
    if text.startswith(b"data:audio/") or (_is_varied(text, 32) and _BASE64.fullmatch(text)):
        return "is audio written as text (base64): decode it first (base64 -d)"
    if text[:1] in (b"{", b"[") and _is_printable(text):
        return f"is JSON, not audio: it begins with {shown!r}"
    if b" " in text and _is_varied(text, 8) and _is_printable(text):
        return f"is text: it begins with {shown!r}"
    return None


def _is_varied(text: bytes, least: int) -> bool:
    """Whether it has so many different bytes: silence in A-law has one, which is printable."""
    return len(set(text)) >= least


def _is_printable(text: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in text)
