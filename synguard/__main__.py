"""``python -m synguard`` is the ``synguard`` command."""

from synguard.cli.main import run

if __name__ == "__main__":
    run()
