"""What a gateway keeps of a session so that another engine can go on where one was lost.

`replay`: what was asked, with the last seconds of audio (`audio_ring`); `transcript`: what was published; `splice`:
where the next engine's words join it; `session`: one session, which has the first and the second.
"""
