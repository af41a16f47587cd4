"""Waiting for something that a driver of a browser or an app expects."""

import sys
import time


def eventually(who: str, what: str, look, patience: float):
    """Looks until there is something to return, or ends the program after `patience` seconds."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        if found := look():
            return found
        time.sleep(0.02)
    sys.exit(f"{who}: FAILED: {what}")
