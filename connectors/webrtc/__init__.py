"""WebRTC calls over WHIP (RFC 9725): HTTP resources, peers, their audio.

Chain: `http` -> `whip` (offer and answer; `audio_lines` puts an offer into plain form) -> `peer` (aiortc) -> the leg.
"""
