"""The agent with what is rare made frequent: ``python -m tests.soak.quickened SYNGUARD WORDS…``.

The ledger is pruned every few seconds instead of every ten minutes, and its history thinned after a minute instead of
six hours, so that a soak of minutes goes through both as often as a week does. All else is the agent as installed.
"""

from __future__ import annotations

import runpy
import sys

from synguard.agent import journal
from synguard.ledger import history

PRUNE_EVERY_S = 5.0
SOONER = 360
"""How many times sooner seconds of history are made minutes, and minutes quarters of an hour."""

if __name__ == "__main__":
    journal.PRUNE_EVERY_S = PRUNE_EVERY_S  # type: ignore[misc]  # Final for everybody else
    history.THINNED = tuple((age // SOONER, grain) for age, grain in history.THINNED)  # type: ignore[misc]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
