"""Throws SYNs at this namespace's own host: ``python -m tests.bench.syn_blast PLAN-JSON``, as the lab's generator does.

For a network laid by ``in_own_network`` whose ``wire1`` has been renamed to what the generator sends on.
"""

from __future__ import annotations

import sys

from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.frames import Route
from tests.support.lab.syn_flood import Batch, Flood, Sender
from tests.support.lab.topology import UPLINK
from tests.support.own_network import HOST4, HOST6, mac_of


def main() -> None:
    """Run the plan given as JSON."""
    plan = FloodPlan.model_validate_json(sys.argv[1])
    route = Route(mac_of(UPLINK), mac_of("wire0"), HOST4, HOST6)
    flood = Flood(plan, Batch(plan, route, 2048), Sender())
    flood.run()
    print(f'{{"sent": {flood.sent}, "seconds": {flood.last_at - flood.first_at}}}')


if __name__ == "__main__":
    main()
