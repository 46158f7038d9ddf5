"""`trunkline doctor`: what a configuration needs of its machine and its peers, and whether it has it.

A check looks at one subject, knows no other, and changes nothing that a running server has or needs. What it raises
becomes a finding; what hangs is left behind after `command.LIMIT_S`.
"""
