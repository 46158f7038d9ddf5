"""Whether one more session can be heard in time: measured step times, load, and what of it lasts."""
