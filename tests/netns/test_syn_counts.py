"""What the challenge program counts on a real wire: every SYN of both families once, by source and by port."""

from __future__ import annotations

import time

import pytest

from synguard.enforcer.challenge.counts import SynCounts
from synguard.readings import SynSample
from synguard.sensors.syn_counts import CountedSyns
from tests.conftest import MakeLab
from tests.support.challenge import Challenge, challenge
from tests.support.lab.flood_plan import FloodPlan, hosts
from tests.support.lab.topology import UPLINK, Victim

pytestmark = pytest.mark.kernel

WEB = frozenset({80})
FLOOD = FloodPlan(groups=(hosts("198.18.7.9", "198.18.200.1"), hosts("2001:db8:bad:7::9")), pps=20_000, duration_s=1.0)


def by_family(sample: SynSample) -> dict[int, int]:
    four = sample.source_high == 0
    found = {4: int(sample.count[four].sum()), 6: int(sample.count[~four].sum())}
    return {version: count for version, count in found.items() if count}


def test_as_many_syns_are_counted_as_were_sent_and_none_once_it_is_detached(make_lab: MakeLab) -> None:
    lab = make_lab(Victim(backlog=128))
    lab.serve()
    held = Challenge(lab)
    counts = SynCounts(held.program.maps)
    counted = CountedSyns(lambda: counts, 20_000)

    def flooded() -> tuple[int, SynSample]:
        counted.read(time.monotonic(), WEB)
        counts.count(60.0, 1)
        sent = int(lab.start_flood(FLOOD).report()["sent"])
        return sent, counted.read(time.monotonic(), WEB)

    counted.open(time.monotonic())
    total, on_port = counts.total(), counts.by_port()[80]
    sent, sample = flooded()
    assert sample.kept == sent == counts.total() - total == counts.by_port()[80] - on_port
    assert by_family(sample).keys() == {4, 6}
    assert len(sample) == 3
    held.hold(challenge("all", "0.0.0.0/0", 80))
    total = counts.total()
    sent, sample = flooded()
    assert counts.total() - total == sent
    assert sample.kept == pytest.approx(sent, rel=0.15), "under a ban one in sixteen is counted by source"
    held.thread.sh(f"tc filter del dev {UPLINK} ingress")
    assert flooded()[1].kept == 0
    held.close()
