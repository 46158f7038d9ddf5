"""Bodies as SBCs and telephones send them, with the addresses of documentation (RFC 5737)."""

from pathlib import Path

FOLDER = Path(__file__).parent


def sample(name: str, line_end: bytes = b"\r\n") -> bytes:
    """The sample with the line ends of the wire."""
    return (FOLDER / name).read_bytes().replace(b"\n", line_end)


SDP = sorted(path.name for path in FOLDER.glob("*.sdp"))
METADATA = (
    "standard.xml",
    "oracle.xml",
    "audiocodes_avaya.xml",
    "cube_no_group.xml",
    "broadworks.xml",
    "ribbon.xml",
)
