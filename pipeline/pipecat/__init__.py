"""Pipecat pipelines on Trunkline: speech to text, calls as a transport, turns, bots (docs/pipecat.md)."""
