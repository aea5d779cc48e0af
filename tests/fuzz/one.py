"""``python -m tests.fuzz.one TARGET CORPUS [OPTION…]``: one target, guided by the code that inputs reach."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import atheris  # after the variable that numpy reads

with atheris.instrument_imports(include=["synguard", "tomllib"], exclude=["synguard.cli", "synguard.agent.agent"]):
    from tests.fuzz.guard import Guard
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until an input does what none may, or libFuzzer's time is up."""
    name, *rest = sys.argv[1:]
    target = TARGETS[name]
    home = Path(os.environ.get("FUZZ_HOME") or tempfile.mkdtemp(prefix=f"synguard-fuzz-{name}-"))
    guard = Guard(home)

    def once(data: bytes) -> None:
        with guard.watching():
            try:
                target.read(data, home)
            except target.allowed:
                return

    atheris.Setup([f"fuzz-{name}", *rest], once)
    atheris.Fuzz()


main()
