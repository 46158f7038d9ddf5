"""Session descriptions of one audio line."""

from connectors.sdp.description import AudioMedia, parse


def audio(*lines: str, formats: str = "0", session: tuple[str, ...] = ()) -> AudioMedia:
    """The one audio line of a description with these attributes."""
    text = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", *session, f"m=audio 4000 RTP/AVP {formats}"]
    media = parse("\r\n".join([*text, *lines])).media[0]
    assert isinstance(media, AudioMedia)
    return media
