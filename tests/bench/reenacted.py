"""What ddos-deflate and CSF say that they do, written anew from their documentation and defaults: no code of theirs.

Run as ``python -m tests.bench.reenacted deflate|csf`` on the host to protect. Neither is packaged, so neither can be
run here as it is; these loops look at the same thing, as often, against the same limits, and act in the same way.
Prints one line for each thing that the original would have logged, in words of our own.

Sources: README and config/ddos.conf of jgmdev/ddos-deflate (look every 5 s, 80 connections to HTTP ports, 150 in all,
any state but LISTEN, REJECT in INPUT for 600 s); csf.conf of CSF (SYNFLOOD 100/s, burst 150, over all sources together;
CT_LIMIT 300, looked at every 30 s, DROP for 1,800 s), with the two switched on that are off by default.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

DEFLATE_EVERY_S: Final = 5.0
DEFLATE_HTTP, DEFLATE_ALL = 80, 150
CSF_EVERY_S: Final = 30.0
CSF_LIMIT: Final = 300
CSF_SYNS: Final = ("-m", "limit", "--limit", "100/s", "--limit-burst", "150")


def connections(port: str = "") -> Counter[str]:
    """Return remote address → TCP sockets in any state but LISTEN, as ``netstat`` tells them."""
    listing = subprocess.run(["netstat", "-nt"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines() if line.startswith("tcp")]
    wanted = [row for row in rows if not port or row[3].endswith(f":{port}")]
    return Counter(row[4].rpartition(":")[0] for row in wanted)


def ban(address: str, target: str) -> None:
    """Put a rule for one address at the top of INPUT."""
    table = "ip6tables" if ":" in address else "iptables"
    subprocess.run([table, "-I", "INPUT", "1", "-s", address, "-j", target], check=True)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def deflate(banned: dict[str, float]) -> None:
    """Look once, as ddos-deflate does: web connections first, then all."""
    for limit, found in ((DEFLATE_HTTP, connections("80")), (DEFLATE_ALL, connections())):
        for address, count in found.most_common():
            if count >= limit and address not in banned:
                ban(address, "REJECT")
                banned[address] = time.monotonic()
                say(f"banned {address} with {count} connections for 600 seconds")


def csf(banned: dict[str, float]) -> None:
    """Look once, as the connection tracking of CSF's daemon does."""
    for address, count in connections().most_common():
        if count > CSF_LIMIT and address not in banned:
            ban(address, "DROP")
            banned[address] = time.monotonic()
            say(f"{address} has {count} connections: blocked for 1800 seconds")


def csf_rules() -> None:
    """Put down what SYNFLOOD = "1" does: above the rate SYNs are dropped, whoever sent them, and a few are logged."""
    log = [
        "-m",
        "limit",
        "--limit",
        "30/m",
        "-j",
        "NFLOG",
        "--nflog-group",
        "1",
        "--nflog-prefix",
        "SYNFLOOD Blocked: ",
    ]
    for words in (
        ["-N", "SYNFLOOD"],
        ["-A", "SYNFLOOD", *CSF_SYNS, "-j", "RETURN"],
        ["-A", "SYNFLOOD", *log],
        ["-A", "SYNFLOOD", "-j", "DROP"],
        ["-A", "INPUT", "-i", "eth0", "-p", "tcp", "--syn", "-j", "SYNFLOOD"],
    ):
        subprocess.run(["iptables", *words], check=True)


def main() -> None:
    """Look until killed, the first time at once: the bench starts a flood at any moment of the pause."""
    look: Callable[[dict[str, float]], None]
    look, every = (deflate, DEFLATE_EVERY_S) if sys.argv[1] == "deflate" else (csf, CSF_EVERY_S)
    if look is csf:
        csf_rules()
    banned: dict[str, float] = {}
    say("ready")
    while True:
        look(banned)
        time.sleep(every)


if __name__ == "__main__":
    main()
