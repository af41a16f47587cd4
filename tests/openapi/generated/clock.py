"""Runs a program whose clock moves an hour ahead with each SIGUSR2: `python clock.py app.py`.

Signatures are made by datetime's clock, which stays right.
"""

import runpy
import signal
import sys
import time

real, ahead = time.time, [0]


def hour(*_):
    ahead[0] += 3600


time.time = lambda: real() + ahead[0]
signal.signal(signal.SIGUSR2, hour)
runpy.run_path(sys.argv[1], run_name="__main__")
