"""Session recording (RFC 7866): which of a recorder's streams is whose voice. Without I/O.

Chain: body of a recording INVITE -> `body` (its parts) -> `metadata_xml` -> `metadata` -> `labels` and `roles` ->
`recording_session`, which reports what changed (`events`).
"""
