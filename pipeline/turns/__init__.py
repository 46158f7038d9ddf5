"""When a caller begins, pauses and ends a turn: speech, words and Smart Turn fused on media time. See `detector`."""
