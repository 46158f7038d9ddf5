"""Pipecat pipelines on Trunkline: speech to text, calls as a transport, turns, bots (docs/pipecat.md).

What users import is re-exported by `trunkline`. On Python 3.11 Pipecat puts another `asyncio.wait_for` in the place of
that of the standard library, for the whole process; so nothing imports it but bots that are made with it.
"""
