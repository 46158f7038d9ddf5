"""What a look at a file's headers finds: its parts, and where they, the headers and the file's size disagree."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [start, start + length) that are a file of their own. `patches`: corrected header fields in it;
    `prefix`: a header for what has none. `faults`: where header and file disagree, as sentences without a subject ("is
    cut short: ...")."""

    start: int
    length: int
    patches: Mapping[int, bytes] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    prefix: bytes = b""

    @property
    def end(self) -> int:
        return self.start + self.length


def seconds(value: float) -> str:
    """A length for people: `12.0 s`, `0.05 s`, `1:02:03 h`."""
    if value < 3600:
        return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def cut_short(held: int, declared: int, rate: float, unit: str = "bytes") -> str:
    """`rate`: units a second, 0 where it is unknown. Written in units where the seconds would read the same."""
    texts = [seconds(count / rate) for count in (held, declared)] if rate else []
    if len(set(texts)) < 2:
        texts = [f"{count:,} {unit}" for count in (held, declared)]
    return (
        f"is cut short: it holds {texts[0]} of the {texts[1]} that its header declares; copy it anew if there is more"
    )


def unfinished(held: str) -> str:
    return f"has a header that was never finished: all {held} up to the end of the file were taken for audio"


def continued(declared: str, held: str) -> str:
    return f"has a header that declares only {declared}: all {held} up to the end of the file were taken for audio"
