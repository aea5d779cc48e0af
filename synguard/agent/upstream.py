"""Routes for upstream, worked out beside the tick about once a second and handed to the feeder."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from synguard.agent.agent import Agent
from synguard.agent.tick import Tick
from synguard.detector.assessment import Assessment
from synguard.errors import SynguardError
from synguard.fleet.link import FeederLink
from synguard.fleet.orders import Blackholes, routes_of
from synguard.fleet.peer import PeerRecord
from synguard.fleet.upstream import FloodedPorts, wanted_routes
from synguard.incidents import Phase
from synguard.model import Mode
from synguard.policy.models import Config

EVERY_S: Final = 1.0


class UpstreamFeed:
    """Tells the feeder what is wanted; in dry-run it only says what would be."""

    def __init__(self, agent: Agent, config: Config, record: PeerRecord) -> None:
        self._agent = agent
        self._settings = config.bgp
        self._record = record
        self._blackholes = Blackholes(config.state_dir)
        self._link = FeederLink(config.bgp, config.state_dir, record)
        self._flooded = FloodedPorts(config.bgp.flood_above)
        self._due_at = float("-inf")
        self.problem = ""

    def observe(self, tick: Tick, now: float, utc: datetime) -> None:
        """Work out the routes of this moment, if it is time."""
        if now < self._due_at:
            return
        self._due_at = now + EVERY_S
        self.problem = ""
        try:
            holes = routes_of(self._blackholes.active(utc), self._settings.next_hop)
        except SynguardError as error:
            holes, self.problem = {}, str(error)
        flood = tick.assessment.flood
        routes = wanted_routes(
            self._settings,
            bans=self._agent.automatic(),
            flooded=self._flooded.follow(
                _attacked(tick.assessment),
                max(flood.syn_pps, flood.cookies_sent_pps + flood.dropped_pps),
                calm=self._agent.phase is Phase.CALM,
            ),
            blackholes=holes,
            now=utc,
        )
        if self._agent.mode is Mode.DRY_RUN:
            self._link.want({route: left for route, left in routes.items() if route.next_hop}, now, utc)
            self._record.would([str(route) for route in routes if not route.next_hop])
        else:
            self._link.want(routes, now, utc)

    def close(self) -> None:
        """Withdraw everything."""
        self._link.close()


def _attacked(assessment: Assessment) -> set[int]:
    """Return the ports whose SYN queue is full or filling."""
    return {one.port for one in assessment.pressure if one.attacked}
