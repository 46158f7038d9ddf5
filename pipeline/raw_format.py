"""Audio without a header, as the user describes it: `ulaw:8000`, `s16le:16000:2`, `g722`."""

from dataclasses import dataclass

from pipeline.errors import UnknownRawFormat

_NAMES: dict[str, tuple[str, str, int]] = {  # name -> (libsndfile's subtype, byte order, rate that goes without saying)
    "ulaw": ("ULAW", "FILE", 8000),
    "alaw": ("ALAW", "FILE", 8000),
    "g722": ("G722", "FILE", 16_000),
    "gsm": ("GSM610", "FILE", 8000),
    "vox": ("VOX_ADPCM", "FILE", 8000),
    "s8": ("PCM_S8", "FILE", 0),
    "u8": ("PCM_U8", "FILE", 0),
    "s16le": ("PCM_16", "LITTLE", 0),
    "s16be": ("PCM_16", "BIG", 0),
    "s24le": ("PCM_24", "LITTLE", 0),
    "s24be": ("PCM_24", "BIG", 0),
    "s32le": ("PCM_32", "LITTLE", 0),
    "s32be": ("PCM_32", "BIG", 0),
    "f32le": ("FLOAT", "LITTLE", 0),
    "f32be": ("FLOAT", "BIG", 0),
}
_ALIASES = {
    "mulaw": "ulaw",
    "mu-law": "ulaw",
    "u-law": "ulaw",
    "ul": "ulaw",
    "pcmu": "ulaw",
    "a-law": "alaw",
    "al": "alaw",
    "pcma": "alaw",
    "l8": "u8",
    "l16": "s16be",  # RFC 3551, section 4.5.11: network byte order
    "s16": "s16le",
    "pcm": "s16le",
    "sln": "s16le",
    "slin": "s16le",
    "linear": "s16le",
    "l24": "s24be",
    "s24": "s24le",
    "s32": "s32le",
    "f32": "f32le",
    "gsm610": "gsm",
}
_FRAME_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "ULAW": 1, "ALAW": 1}
_BLOCK_BYTES = {"GSM610": 33}
_MONO = frozenset(("G722", "GSM610", "VOX_ADPCM"))
_SHAPE = "write it as NAME:RATE or NAME:RATE:CHANNELS"
_MOST_CHANNELS = 64

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 2_000, 768_000
"""Rates outside of these are not of speech that anybody recorded."""

SUFFIXES = {  # as Asterisk, FreeSWITCH and sox name them
    ".ulaw": "ulaw:8000",
    ".mulaw": "ulaw:8000",
    ".ul": "ulaw:8000",
    ".mu": "ulaw:8000",
    ".pcmu": "ulaw:8000",
    ".pcm": "ulaw:8000",
    ".alaw": "alaw:8000",
    ".al": "alaw:8000",
    ".pcma": "alaw:8000",
    ".g722": "g722:16000",
    ".gsm": "gsm:8000",
    ".vox": "vox:8000",
    ".sln": "s16le:8000",
    ".sln12": "s16le:12000",
    ".sln16": "s16le:16000",
    ".sln24": "s16le:24000",
    ".sln32": "s16le:32000",
    ".sln44": "s16le:44100",
    ".sln48": "s16le:48000",
    ".sln96": "s16le:96000",
    ".sln192": "s16le:192000",
    ".s16": "s16le:16000",
    ".sw": "s16le:8000",
    ".raw": "ulaw:8000",
    ".l16": "l16:16000",
    ".r16": "s16le:16000",
    ".f32": "f32le:16000",
}
"""What a file without a header is likely to hold, by its name: a hint for people, never taken for true."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """`subtype` and `endian`: as libsndfile names them (`G722` is ours)."""

    subtype: str
    endian: str
    sample_rate_hz: int
    channels: int

    @property
    def block_bytes(self) -> int:
        """Bytes of the smallest whole piece: of a frame, or of a codec's block."""
        return _BLOCK_BYTES.get(self.subtype, _FRAME_BYTES.get(self.subtype, 1) * self.channels)


def parse_raw_format(text: str) -> RawFormat:
    """The inverse of what the user writes; raises `UnknownRawFormat`, which says how to."""
    name, *numbers = text.strip().lower().split(":")
    name = _ALIASES.get(name, name)
    if name not in _NAMES:
        raise UnknownRawFormat(f"--format {text}: there are {', '.join(_NAMES)}; {_SHAPE}, e.g. ulaw:8000")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise UnknownRawFormat(f"--format {text}: {_SHAPE}, e.g. {name}:8000:2")
    subtype, endian, rate_hz = _NAMES[name]
    if numbers:
        rate_hz = int(numbers[0])
    channels = int(numbers[1]) if len(numbers) > 1 else 1
    if not rate_hz:
        raise UnknownRawFormat(f"--format {text}: the rate is missing; {_SHAPE}, e.g. {name}:8000")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UnknownRawFormat(
            f"--format {text}: {rate_hz} Hz is no sampling rate of speech ({LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ})"
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise UnknownRawFormat(f"--format {text}: 1 to {_MOST_CHANNELS} channels, not {channels}")
    if channels > 1 and subtype in _MONO:
        raise UnknownRawFormat(f"--format {text}: {name} has one channel")
    if subtype == "G722":
        if rate_hz not in (8000, 16_000):
            raise UnknownRawFormat(f"--format {text}: g722 has 16000 Hz (its RTP clock says 8000)")
        rate_hz = 16_000
    return RawFormat(subtype, endian, rate_hz, channels)


def raw_hint(suffix: str) -> str:
    """What `--format` may have to be for a file with this suffix (lower case, with its dot)."""
    return SUFFIXES.get(suffix, "ulaw:8000")
