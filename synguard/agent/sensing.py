"""What a tick reads and what the detector makes of it: sensors at their pace, short connections, who is protected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from synguard.addresses import EMBEDDING
from synguard.agent.protected_list import ProtectedList
from synguard.agent.sensor_scheduler import HostSensors, SensorScheduler
from synguard.agent.short_lived import ShortLived
from synguard.agent.syn_sensor import blind_to
from synguard.decision.engine import Decision
from synguard.detector.assessment import Assessment
from synguard.detector.ban_filter import BanFilter
from synguard.detector.detector import Detector
from synguard.policy.models import Config, Policy
from synguard.readings import Protected, Readings
from synguard.status.conditions import Code, Conditions

Record = Callable[[datetime, Readings, Protected], None]


class Sensing:
    """Reads this host and assesses what was read; a sensor may fail without ending the tick."""

    def __init__(self, config: Config, policies: Sequence[Policy], sensors: HostSensors, seed: int) -> None:
        self.sensors: Final = sensors
        self._seed = seed
        self._short_lived = ShortLived(sensors.ended)
        self._protected_list = ProtectedList(config.state_dir)
        self._wants_proof = False
        self._unsampled_pps = 0.0
        self.record: Record | None = None
        """Given what every tick reads; must neither wait nor raise."""
        self._judge_by(config, policies)

    def use(self, config: Config, policies: Sequence[Policy]) -> None:
        """Go by another configuration from now on."""
        self.scheduler.rest()
        self._judge_by(config, policies)

    def _judge_by(self, config: Config, policies: Sequence[Policy]) -> None:
        self.sampling = False
        self.scheduler = SensorScheduler(config, self.sensors)
        self.detector = Detector(policies, self._seed)
        self._protected_list.embedding = (*EMBEDDING, *config.pref64)

    @property
    def protected(self) -> Protected:
        """Who may never be banned, as of the last read."""
        return self._protected_list.known

    @property
    def listens(self) -> bool:
        """Whether connections are heard of as they end: what ends between two ticks is bounded then."""
        return self._short_lived.running

    def follow_protected(self, now: float) -> bool:
        """Read who is protected anew if that is due; return whether it was."""
        return self._protected_list.follow(self.scheduler, now)

    def read(self, now: float, utc: datetime) -> Readings:
        """Return what the sensors that are due have read."""
        readings = self.scheduler.read(now, sampling=self.sampling, proof=self._wants_proof)
        readings = self._short_lived.add_to(readings, self.scheduler.ports)
        if self.record is not None:
            self.record(utc, readings, self.protected)
        return readings

    def assess(self, readings: Readings, ban_filter: BanFilter, now: float) -> Assessment:
        """Return what the readings come to."""
        assessment = self.detector.assess(readings, ban_filter)
        self._unsampled_pps = blind_to(self.sensors.syns, assessment.unsampled_pps, now)
        self._short_lived.want(
            assessment.flood.unseen_pps,
            now,
            held_by_few=assessment.held_by_few,
            turns_away=bool(assessment.crowded),
        )
        return assessment

    def want(self, decision: Decision, now: float) -> None:
        """Read in the next tick what the decision needs."""
        self.sampling, self._wants_proof = decision.wants_sampler, decision.wants_proof
        if self.sampling:
            self.scheduler.begin_sampling(now)

    def ask_for_conditions(self, conditions: Conditions) -> None:
        """Have the board ask for what cannot be read."""
        conditions.ask(Code.PROTECTED_UNKNOWN, lambda: self._protected_list.problems)
        conditions.ask(Code.PROTECTED_GAP, self._protected_list.notes)
        conditions.ask(Code.SENSOR_FAILED, lambda: self.scheduler.failures)
        conditions.ask(Code.SAMPLER_BLIND, lambda: unsampled(self._unsampled_pps))

    def close(self) -> None:
        """Free the sensors."""
        self.scheduler.close()
        self._short_lived.close()


def unsampled(pps: float) -> str:
    """Return the sentence on SYNs that sampling does not show; empty where there are none."""
    if not pps:
        return ""
    return (
        f"the sampler is blind: {pps:,.0f} SYNs a second are turned away and not seen, as they come in fragments or "
        "behind many IPv6 extension headers; sources are judged by half-open sockets alone"
    )
