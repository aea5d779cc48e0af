"""The rule of the field as a loop: every 5 s, who holds more half-open sockets than a limit?

Run as ``python -m tests.bench.naive_rule``.

It looks and does not act, so that it judges the same socket table as the agent beside it. Prints a line ``{"event":
"looked", "at": …, "counts": {…}}`` for each look: source → sockets in SYN_RECV, most first; any limit can be held
against that afterwards. The first look comes at a random moment, for a flood begins at any moment of the loop's sleep.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from typing import Final

EVERY_S: Final = 5.0
LIMITS: Final = (5, 20, 64)
"""A person's "normally below 5", connlimit's usual 20, and the half of a small backlog."""
_MOST_TOLD: Final = 20_000


def counts() -> Counter[str]:
    """Return source → half-open sockets in this network namespace."""
    listing = subprocess.run(["ss", "-Htn", "state", "syn-recv"], capture_output=True, text=True, check=True).stdout
    return Counter(line.split()[3].rpartition(":")[0].strip("[]") for line in listing.splitlines())


def main() -> None:
    """Look until killed."""
    time.sleep(random.uniform(0.5, EVERY_S))
    while True:
        found = dict(counts().most_common(_MOST_TOLD))
        sys.stdout.write(json.dumps({"event": "looked", "at": time.monotonic(), "counts": found}) + "\n")
        sys.stdout.flush()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
