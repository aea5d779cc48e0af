"""The process that follows a CrowdSec local API for the agent.

Decisions come by the ten thousand. Taking them apart and writing them down in a thread of the agent would make its
ticks wait for the interpreter, by seconds. ``python -m synguard.fleet.following`` reads objects of JSON, one a line:
its settings first, then what it must know of the host, whenever that changes::

    {"url": "http://…", "api_key": "…", "ca_file": null, "types": ["ban"], "at_most": 65536, "poll": 10.0,
     "ledger": "/var/lib/synguard/ledger.db", "limits": {…}, "place": "lapi:8080",
     "lock": "/run/synguard/apply.lock", "ceiling": 131072}
    {"dry_run": false, "protected": ["192.0.2.2/32"], "suspended": false, "embedding": ["64:ff9b::/96"],
     "plane": "nftables"}

A long list it brings to the kernel itself, see ``filler``.

It writes a line after each question: ``{"counts": {…}, "notes": […]}`` or ``{"failed": "…"}``. The end of its input is
the end of the agent, by ``SIGKILL`` too: it ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final

from synguard.addresses import parse_network
from synguard.clock import SystemClock
from synguard.fleet.filler import PlaneFiller
from synguard.fleet.follower import DecisionFollower, HostView
from synguard.fleet.lapi import DecisionSource
from synguard.fleet.peer import PeerRecord
from synguard.fleet.worker import PeerWorker
from synguard.ledger import Ledger
from synguard.policy.models import LedgerLimits

NAME: Final = "crowdsec decisions"


class _ReportingRecord(PeerRecord):
    """Tells the agent what came of each question."""

    def answered(self, now: datetime, counts: Mapping[str, int], notes: tuple[str, ...] = ()) -> None:
        super().answered(now, counts, notes)
        _say({"counts": dict(counts), "notes": notes})

    def failed(self, now: datetime, error: str) -> None:
        super().failed(now, error)
        _say({"failed": error})


def view_of(line: str) -> HostView:
    """Return what a line says of the host.

    Raises:
        ValueError: It is no such line.
    """
    try:
        told = json.loads(line)
        protected = frozenset(map(parse_network, told["protected"]))
        embedding = tuple(map(IPv6Network, told["embedding"]))
        return HostView(bool(told["dry_run"]), protected, bool(told["suspended"]), embedding, str(told["plane"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a view of the host: {error}") from error


def follow(lines: Iterable[str]) -> None:
    """Follow as the lines say, until they end."""
    given = iter(lines)
    settings: dict[str, Any] = json.loads(next(given))
    view = HostView(dry_run=True, protected=frozenset(), suspended=True)
    ca_file = settings["ca_file"]
    source = DecisionSource(settings["url"], settings["api_key"], None if ca_file is None else Path(ca_file))
    record = _ReportingRecord(NAME, settings["place"])
    clock = SystemClock()
    follower = DecisionFollower(
        source,
        lambda: view,
        clock,
        record,
        kinds=frozenset(settings["types"]),
        at_most=settings["at_most"],
        poll_s=settings["poll"],
        filler=PlaneFiller(Path(settings["lock"]), settings["ceiling"], clock.utcnow),
    )
    limits = LedgerLimits.model_validate(settings["limits"])
    worker = PeerWorker(
        NAME,
        follower.poll,
        source.close,
        lambda: Ledger.open(Path(settings["ledger"]), limits),
        clock,
        record,
        settings["poll"],
    )
    for line in given:
        with suppress(ValueError):
            view = view_of(line)
            worker.start()
    worker.stop(0.5)


def _say(told: Mapping[str, object]) -> None:
    with suppress(OSError):
        print(json.dumps(told), flush=True)


def main() -> None:
    """Follow what standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the agent ends us
    with suppress(StopIteration):
        follow(sys.stdin)
    os._exit(0)  # a thread may hang in a name server; nothing is left to be done


if __name__ == "__main__":
    main()
