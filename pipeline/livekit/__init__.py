"""LiveKit Agents on Trunkline: speech to text (docs/pipecat.md)."""
