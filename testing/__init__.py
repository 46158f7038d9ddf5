"""What tests and benchmarks share: audio, checkpoints that are made, NeMo as a reference. Not in the wheel."""
