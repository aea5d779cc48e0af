"""The ``synguard`` command, also as ``python -m synguard``."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit; what Tab asks is answered before anything is imported for the rest."""
    if sys.argv[1:] == ["completion", "--targets"]:  # as the completion scripts ask
        from synguard.cli.tab import print_targets

        print_targets()
        return
    from synguard.cli.main import run as command_line

    command_line()


if __name__ == "__main__":
    run()
