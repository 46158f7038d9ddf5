"""What a gateway keeps of a session so that another engine can go on where one was lost.

`replay`: what was asked, with the audio (`audio_ring`) since the last point that need not be heard again; `transcript`:
what was told; `splice`: where the next engine's words join them.
"""
