"""`make bench`: Wayport beside nginx as the floor and beside each peer that is installed, in one run, on this machine.

Gateway and load run on different cores. CPU time per call is the steady figure on a noisy machine: it is read from the
kernel's account of the gateway's processes, not from a clock.
"""
