"""SIP messages as text (RFC 3261, sections 7, 20 and 25): read tolerantly, written strictly. Without I/O.

`parser` makes a `message` of bytes; `headers`, `uri` and `grammar` read values; `leniency` mends what has one plain
meaning, `needs` and `inspection` say what a request cannot do without.
"""
