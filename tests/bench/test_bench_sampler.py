"""What sampling costs: ``pytest -m bench -s tests/bench/test_bench_sampler.py``; prints figures, asserts no times."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from synguard.sensors.syn_sampler import SynSampler
from tests.support.lab.flood_plan import FloodPlan, SourceGroup
from tests.support.lab.namespaces import REPOSITORY
from tests.support.lab.topology import UPLINK
from tests.support.own_network import in_own_network

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

KEPT_PER_SECOND = 20_000
TICK_S = 0.05
SECONDS = 4.0
AS_MANY_AS_IT_CAN = 400_000
DROP = """table inet mute {
    chain c { type filter hook prerouting priority raw; tcp dport 80 drop; }
}"""


@dataclass
class Cost:
    sent: int = 0
    seconds: float = 0.0
    estimated: int = 0
    read: int = 0
    lost: int = 0
    one_in: int = 1
    cpu_s: float = 0.0
    watched_s: float = 0.0


@pytest.mark.parametrize("pps", [1000, 10_000, 50_000, AS_MANY_AS_IT_CAN])
@in_own_network
def test_cost_of_sampling_at(pps: int) -> None:
    _rename_the_wire()
    without = flood(pps, sampled=False)
    cost = flood(pps, sampled=True)
    off = (cost.estimated - cost.sent) / cost.sent
    print(
        f"\n{cost.sent / cost.seconds:9,.0f} SYN/s (without sampler {without.sent / without.seconds:9,.0f}): "
        f"1 in {cost.one_in:3}, {cost.read / cost.watched_s:7,.0f} read/s, {cost.lost} lost, "
        f"estimate {off:+.1%}, {cost.cpu_s / cost.watched_s:.2%} of a core to read"
    )
    assert cost.read <= KEPT_PER_SECOND * cost.watched_s + 65_536
    assert cost.estimated > 0


def flood(pps: int, *, sampled: bool) -> Cost:
    plan = FloodPlan(groups=(SourceGroup(anywhere=4),), pps=pps, duration_s=SECONDS, ports=(80,))
    command = [sys.executable, "-m", "tests.bench.syn_blast", plan.model_dump_json()]
    sampler = SynSampler(KEPT_PER_SECOND)
    if sampled:
        sampler.open(time.monotonic())
        sampler.read(time.monotonic(), frozenset({80}))
    cost = Cost()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as blast:
        assert blast.stdout is not None
        blast.stdout.readline()
        begun = time.monotonic()
        running = True
        while running:
            time.sleep(TICK_S)
            running = blast.poll() is None
            if sampled:
                _watch(sampler, cost)
        cost.watched_s = time.monotonic() - begun
        ended = json.loads(blast.stdout.read())
    sampler.close()
    cost.sent, cost.seconds = ended["sent"], ended["seconds"]
    return cost


def _watch(sampler: SynSampler, cost: Cost) -> None:
    busy = time.thread_time()
    sample = sampler.read(time.monotonic(), frozenset({80}))
    cost.cpu_s += time.thread_time() - busy
    cost.read += len(sample)
    cost.lost += sample.lost
    cost.estimated += (len(sample) + sample.lost) * sample.one_in
    cost.one_in = max(cost.one_in, sample.one_in)


def _rename_the_wire() -> None:
    commands = f"link set wire1 down\nlink set wire1 name {UPLINK}\nlink set {UPLINK} up\n"
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    subprocess.run(["nft", "-f", "-"], input=DROP, text=True, check=True)
