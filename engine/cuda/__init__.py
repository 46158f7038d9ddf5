"""The step on an NVIDIA GPU: recorded graphs, a search that never waits, attention over rings as a Triton kernel."""
