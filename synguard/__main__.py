"""The ``synguard`` command, also as ``python -m synguard``."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit; what Tab asks is answered before anything is imported for the rest."""
    from synguard.cli.tab import QUESTION, print_targets

    if tuple(sys.argv[1:]) == QUESTION:
        print_targets()
        return
    from synguard.cli.main import run as command_line

    command_line()


if __name__ == "__main__":
    run()
