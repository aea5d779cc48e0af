"""Throws SYNs at the attackers' link, addressed to the victim itself: ``main`` with PLAN-JSON and the victim's MAC."""

from __future__ import annotations

import json
import os
import signal
import sys

from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.frames import Route
from tests.support.lab.syn_flood import Batch, Flood, Sender
from tests.support.lab.topology import UPLINK, VICTIM4, VICTIM6
from tests.support.own_network import mac_of

FRAMES = 32_768


class Torrent(Batch):
    """Frames that are built once and sent again and again: building one costs more than sending it."""

    built = False

    def refill(self) -> None:
        """Build all of them, the first time."""
        if not self.built:
            super().refill()
        self.built, self.left = True, FRAMES


def main() -> None:
    """Run the plan given as JSON."""
    plan = FloodPlan.model_validate_json(sys.argv[1])
    os.sched_setaffinity(0, {plan.cpu or 0})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # whoever sends has a machine of his own
    route = Route(mac_of(UPLINK), bytes.fromhex(sys.argv[2].replace(":", "")), VICTIM4, VICTIM6)
    flood = Flood(plan, Torrent(plan, route, FRAMES), Sender())
    signal.signal(signal.SIGTERM, flood.stop)
    flood.run()
    print(json.dumps({"event": "finished", "sent": flood.sent, "seconds": flood.last_at - flood.first_at}), flush=True)
