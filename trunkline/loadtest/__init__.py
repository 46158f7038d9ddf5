"""`trunkline loadtest`: many calls with real media at once against a server, and what became of them.

Pure parts: `plan` (when who calls), `script` (what is played), `tally` (records to figures), `report`, `uac` (one SIP
call), `bodies` (SDP and recording metadata). Drivers: `twilio_caller`, `sip_caller` with `signalling` and `rtp_sender`,
`sources`, `run`. The command line calls `command`, which loads the rest through `terminal`.
"""
