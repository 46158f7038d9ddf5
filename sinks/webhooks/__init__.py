"""Records to receivers by HTTP, signed, from a spool."""
