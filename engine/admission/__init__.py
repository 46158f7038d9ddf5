"""Whether one more session can be transcribed in time: measured step times, load, and what of it lasts."""
