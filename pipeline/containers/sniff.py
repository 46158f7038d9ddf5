"""Which format a file is, by its first bytes and never by guessing: what has no signature is audio without a header."""

from dataclasses import dataclass

from pipeline.containers.mpeg import find_frames, id3_bytes, is_mpeg
from pipeline.containers.source import ByteSource


@dataclass(frozen=True, slots=True)
class Format:
    """`name`: for people. `demuxer`: FFmpeg's name for it, where FFmpeg reads it. `by_libsndfile`: libsndfile is tried
    first. `start`: where it begins, behind tags. `skipped`: bytes before it that are no tags either."""

    name: str
    demuxer: str | None
    by_libsndfile: bool
    start: int = 0
    skipped: int = 0


# (offset, bytes, name, FFmpeg's demuxer, read by libsndfile). The first that fits counts.
_SIGNATURES: tuple[tuple[int, bytes, str, str | None, bool], ...] = (
    (8, b"AVI ", "AVI", "avi", False),
    (8, b"QLCM", "QCP", "qcp", False),
    (0, b"RIFF", "WAV", "wav", True),
    (0, b"RIFX", "WAV", "wav", True),
    (0, b"RF64", "RF64", "wav", True),
    (0, b"BW64", "BW64", "wav", True),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64", "w64", True),
    (8, b"AIFF", "AIFF", "aiff", True),
    (8, b"AIFC", "AIFF-C", "aiff", True),
    (8, b"8SVX", "IFF", "iff", True),
    (8, b"16SV", "IFF", "iff", True),
    (0, b"caff", "CAF", "caf", True),
    (0, b".snd", "AU", "au", True),
    (0, b"dns.", "AU", "au", True),
    (0, b"fLaC", "FLAC", "flac", True),
    (0, b"OggS", "Ogg", "ogg", True),
    (0, b"Creative Voice File\x1a", "VOC", "voc", True),
    (0, b"NIST_1A", "NIST Sphere", "nistsphere", True),
    (0, b"\x64\xa3\x01\x00", "IRCAM", "ircam", True),
    (0, b"\x64\xa3\x02\x00", "IRCAM", "ircam", True),
    (0, b"\x64\xa3\x03\x00", "IRCAM", "ircam", True),
    (0, b"\x64\xa3\x04\x00", "IRCAM", "ircam", True),
    (0, b"\x00\x01\xa3\x64", "IRCAM", "ircam", True),
    (0, b"\x00\x02\xa3\x64", "IRCAM", "ircam", True),
    (0, b"\x00\x03\xa3\x64", "IRCAM", "ircam", True),
    (0, b"PVF1\n", "PVF", "pvf", True),
    (0, b"2BIT", "AVR", None, True),
    (0, b" paf", "PAF", None, True),
    (0, b"fap ", "PAF", None, True),
    (0, b"MATLAB 5.0 MAT-file", "Matlab", None, True),
    (0, b"ALawSoundFile**", "Psion", None, True),
    (0, b"Extended Instrument: ", "XI", None, True),
    (4, b"ftyp", "MP4", "mov", False),
    (4, b"moov", "QuickTime", "mov", False),
    (4, b"mdat", "QuickTime", "mov", False),
    (4, b"wide", "QuickTime", "mov", False),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM", "matroska", False),
    (0, b"#!AMR", "AMR", "amr", False),
    (0, b"#!SILK_V3", "Silk", None, False),
    (1, b"#!SILK_V3", "Silk", None, False),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMA)", "asf", False),
    (0, b"FLV\x01", "FLV", "flv", False),
    (0, b".RMF", "RealMedia", "rm", False),
    (0, b"MAC ", "Monkey's Audio", "ape", False),
    (0, b"wvpk", "WavPack", "wv", False),
    (0, b"TTA1", "TTA", "tta", False),
    (0, b"MPCK", "Musepack", "mpc8", False),
    (0, b"MP+", "Musepack", "mpc", False),
    (0, b"DSD ", "DSF", "dsf", False),
    (0, b"ADIF", "AAC", "aac", False),
    (0, b"\x00\x00\x01\xba", "MPEG program stream", "mpeg", False),
    (0, b"\x0b\x77", "AC-3", "ac3", False),
)

# Signatures of a few bits, which audio without a header may have too: libsndfile is only asked where the name agrees.
_BY_SUFFIX = {
    ".htk": "HTK",
    ".mat": "Matlab",
    ".mat4": "Matlab",
    ".mat5": "Matlab",
    ".mpc": "MPC 2000",
    ".mpc2k": "MPC 2000",
    ".snd": "MPC 2000",
    ".sds": "Midi Sample Dump",
    ".syx": "Midi Sample Dump",
    ".sd2": "Sound Designer II",
}
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_PICTURES = b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx "
_HEAD = 64
_MPEG_SUFFIXES = ".mp3", ".mp2", ".mp1", ".mpga"
_LONGEST_FRAME = 4096  # of layer I to III, with room
_LONGEST_TAG = 16 << 20  # a picture is in it
_TS_PACKET = 188


def format_of(source: ByteSource, suffix: str) -> Format | None:
    """What the file is; `suffix` (lower case, with its dot) counts for formats whose signature proves nothing.

    None where nothing says it.
    """
    start = id3_bytes(source, 0)
    head = source.at(start, _HEAD)
    for offset, signature, name, demuxer, by_libsndfile in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature and _belongs(head, signature):
            return Format(name, demuxer, by_libsndfile, start)
    if is_mpeg(source, start):
        return Format("MPEG audio", "mp3", True, start)
    if _is_adts(source, start):
        return Format("AAC", "aac", False, start)
    if source.size >= 4 * _TS_PACKET and all(source.at(n * _TS_PACKET, 1) == b"\x47" for n in range(4)):
        return Format("MPEG transport stream", "mpegts", False)
    if suffix in _BY_SUFFIX:
        return Format(_BY_SUFFIX[suffix], None, True)
    return _later_mpeg(source, start, suffix)


def _later_mpeg(source: ByteSource, start: int, suffix: str) -> Format | None:
    """MPEG audio that begins behind a tag of another size than it says, or in the middle of a frame; only where a tag
    or the name says that it is MPEG audio."""
    is_tagged = source.at(0, 3) == b"ID3"
    if not is_tagged and suffix not in _MPEG_SUFFIXES:
        return None
    begin = start if start < source.size else 0
    found = find_frames(source, begin, begin + (_LONGEST_TAG if is_tagged else _LONGEST_FRAME))
    return None if found is None else Format("MPEG audio", "mp3", True, found, found - begin)


def is_apple_double(head: bytes) -> bool:
    """Whether this is what macOS keeps beside a file (`._call.wav`) on foreign disks; never audio."""
    return head.startswith(_APPLE_DOUBLE)


def _belongs(head: bytes, signature: bytes) -> bool:
    """Whether what stands before a signature inside the file is right too."""
    if signature in (b"AVI ", b"QLCM"):
        return head[:4] == b"RIFF"
    if signature in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return head[:4] == b"FORM"
    if signature in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return head[8:12] in (b"WAVE", b"")
    if signature == b"ftyp":
        return head[8:12] not in _PICTURES
    if signature == b"\x0b\x77":
        return len(head) > 5 and head[4] >> 6 != 3 and head[4] & 0x3F < 38 and head[5] >> 3 in (4, 6, 8, 16)
    return True


def _is_adts(source: ByteSource, start: int) -> bool:
    """Whether frames of AAC in ADTS follow each other (ISO/IEC 13818-7, 6.2)."""
    position, found = start, 0
    while found < 4:
        raw = source.at(position, 7)
        if len(raw) < 7 or raw[0] != 0xFF or raw[1] & 0xF6 != 0xF0 or raw[2] >> 2 & 15 > 12:
            break
        size = (raw[3] & 3) << 11 | raw[4] << 3 | raw[5] >> 5
        if size < 7:
            break
        position += size
        found += 1
    return found == 4 or (found >= 2 and position >= source.size)
