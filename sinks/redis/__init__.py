"""The live view in Redis: a sink that keeps it true, and its reader."""
