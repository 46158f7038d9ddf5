"""How many streams a machine carries, and how that compares with the peers: `python -m benchmarks.capacity`."""
