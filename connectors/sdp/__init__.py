"""Session descriptions (RFC 8866) and their negotiation by offer and answer (RFC 3264). Without I/O.

Chain: text -> `description` (lines; `media_lines`, `rtp_codec`, `sdes` read their values) -> `offer_answer`, which
answers by `capabilities` -> the codecs, addresses and keys that a leg's RTP runs with.
"""
