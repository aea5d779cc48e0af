"""Prints which plane passes which test of the contract: ``python -m tests.contract.table``. Needs root.

Ends with 1 if any cell is not ``ok``; ``-`` is a test that did not run there.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

import pytest

SUITE: Final = Path(__file__).with_name("test_plane_contract.py")
PLANES: Final = ("fake", "faulty", "dry-run", "iptables-sets", "nftables")

_NODE: Final = re.compile(rf"::test_(\w+)\[({'|'.join(PLANES)})(?:[ -].*)?\]")


class Results:
    """A pytest plugin that notes how each test ended on each plane, its cases taken together."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one report; a fixture that fails counts as the test's failure."""
        match = _NODE.search(report.nodeid)
        if match and (report.when == "call" or report.outcome != "passed"):
            self.cells[match[1]][match[2]][report.outcome] += 1

    def text(self) -> str:
        """Return the table, one line per test in the order of the suite."""
        wide = max(map(len, self.cells), default=0)
        head = " " * wide + "".join(f"{plane:>16}" for plane in PLANES)
        return "\n".join(
            [head]
            + [
                f"{name.replace('_', ' '):{wide}}" + "".join(f"{_cell(by[plane]):>16}" for plane in PLANES)
                for name, by in self.cells.items()
            ]
        )


def _cell(outcomes: Counter[str]) -> str:
    total = outcomes.total()
    if outcomes["passed"] == total:
        return "-" if total == 0 else "ok" if total == 1 else f"ok ({total})"
    return f"{total - outcomes['passed']} of {total} not"


def main() -> int:
    """Run the suite and print the table."""
    results = Results()
    code = pytest.main(["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", str(SUITE)], plugins=[results])
    sys.stdout.write(f"\n{results.text()}\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
