"""Sessions on the host: their audio, slots, turns on the device, and the words that come of their tokens."""
