"""Offers of WebRTC as browsers write them, and fragments with ICE candidates."""

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
HOST = "a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0"
BY_NAME = "a=candidate:2 1 udp 2122260223 6f5c1a7e-4c1c-4a43-9b9b-5f27c0f6b7e1.local 50001 typ host"
BY_TCP = "a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active"


def audio_line(mid: int = 0, *, kind: str = "audio", direction: str = "sendonly", codecs: str = "opus") -> list[str]:
    formats, maps = {
        "opus": ("111", ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"]),
        "both": ("111 0", ["a=rtpmap:111 opus/48000/2", "a=rtpmap:0 PCMU/8000"]),
        "pcmu": ("0", ["a=rtpmap:0 PCMU/8000"]),
        "g729": ("18", ["a=rtpmap:18 G729/8000"]),
    }[codecs]
    return [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        "a=ice-ufrag:Ufrg",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        f"a=fingerprint:{FINGERPRINT}",
        "a=setup:actpass",
        f"a={direction}",
        "a=rtcp-mux",
        *maps,
    ]


def offer(*lines: list[str], bundled: bool = True) -> str:
    """A description of these media lines."""
    head = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bundled:
        head.append(f"a=group:BUNDLE {' '.join(str(index) for index in range(len(lines)))}")
    return "\r\n".join([*head, *(line for media in lines for line in media)]) + "\r\n"


def fragment(*lines: str, ufrag: str = "Ufrg", pwd: str = "abcdefghijklmnopqrstuvwx", mid: str = "0") -> str:
    head = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", "m=audio 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
    return "\r\n".join([*head, *lines]) + "\r\n"
