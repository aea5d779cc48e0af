"""SYNs counted by the challenge program as a sample, and who tells of SYNs where it cannot be asked."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import numpy as np
import pytest

from synguard.agent.syn_sensor import COUNT_AGAIN_S, UNJUDGED_S, CountedOrSampled, blind_to
from synguard.enforcer.challenge import layout
from synguard.errors import PlaneError, SensorError
from synguard.readings import EVERY_PORT, SynSample
from synguard.sensors.syn_counts import COUNTED_FOR_S, CountedSyns, Records
from tests.support.manual_clock import ManualClock
from tests.support.traffic import syns

WEB = frozenset({80, 443})


class FakeProgram:
    """Maps that count what a test sends."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int], int] = {}
        self.arrived = 0
        self.asked: list[tuple[float, int]] = []
        self.broken = False

    def send(self, source: str, port: int, count: int, *, pushed_out: bool = False) -> None:
        self.arrived += count
        if not pushed_out:
            self.seen[source, port] = self.seen.get((source, port), 0) + count

    def count(self, seconds: float, one_in: int) -> None:
        self._may_fail()
        self.asked.append((seconds, one_in))

    def take(self) -> tuple[Records, Records]:
        self._may_fail()
        keys, values = np.zeros(len(self.seen), layout.SOURCE), np.zeros(len(self.seen), layout.SIGHTING)
        for row, ((source, port), count) in enumerate(self.seen.items()):
            keys[row]["address"] = np.frombuffer(layout.packed(ip_network(source)), np.uint8)
            keys[row]["port"] = port
            values[row]["syns"] = count
            values[row]["ttl"], values[row]["window"], values[row]["options"] = 57, 64240, 7
        self.seen = {}
        return keys, values

    def total(self) -> int:
        self._may_fail()
        return self.arrived

    def _may_fail(self) -> None:
        if self.broken:
            raise PlaneError("reading the map sources", "Operation not permitted")


class Host:
    """Counts over a fake program, and a clock turned by hand."""

    def __init__(self, kept_per_second: int = 20_000) -> None:
        self.clock, self.program = ManualClock(), FakeProgram()
        self.there: FakeProgram | None = self.program
        self.counted = CountedSyns(
            lambda: self.there,
            kept_per_second,
            self.clock.monotonic,
        )
        self.counted.open(self.clock.monotonic())

    def after(self, seconds: float, ports: frozenset[int] = WEB) -> SynSample:
        self.clock.advance(seconds)
        return self.counted.read(self.clock.monotonic(), ports)


def by_source(sample: SynSample) -> dict[str, int]:
    rows = zip(sample.source_high.tolist(), sample.source_low.tolist(), sample.count.tolist(), strict=True)
    return {str(unmapped(high << 64 | low)): count * sample.one_in for high, low, count in rows}


def unmapped(value: int) -> object:
    return ip_address(value & 0xFFFF_FFFF) if value >> 32 == 0xFFFF else ip_address(value)


def test_each_source_and_port_is_one_row_that_stands_for_all_its_syns() -> None:
    host = Host()
    host.program.send("198.51.100.7", 80, 700)
    host.program.send("2001:db8::7", 443, 5)
    host.program.send("198.51.100.7", 22, 9)
    sample = host.after(0.05)
    assert by_source(sample) == {"198.51.100.7": 700, "2001:db8::7": 5}
    assert (sample.one_in, sample.kept, len(sample)) == (1, 705, 2)
    assert sample.window_s == pytest.approx(0.05)
    assert sample.local_port.tolist() == [80, 443]
    assert (sample.ttl[0], sample.tcp_window[0], sample.options[0]) == (57, 64240, 7)
    assert host.after(0.05).kept == 0


def test_every_port_is_told_of_where_all_are_asked_for() -> None:
    host = Host()
    host.program.send("198.51.100.7", 22, 9)
    assert by_source(host.after(0.05, EVERY_PORT)) == {"198.51.100.7": 9}


def test_what_was_counted_before_it_was_opened_is_not_told() -> None:
    host = Host()
    host.counted.close()
    host.program.send("198.51.100.7", 80, 700)
    host.counted.open(host.clock.monotonic())
    assert host.after(0.05).kept == 0


def test_one_loud_source_is_counted_exactly_and_many_new_ones_one_in_several() -> None:
    host = Host(kept_per_second=1000)
    for _ in range(40):
        host.program.send("198.51.100.7", 80, 50_000)
        assert host.after(0.05).one_in == 1
    for number in range(800):
        host.program.send(f"198.51.{number // 256}.{number % 256}", 80, 1)
    host.after(0.05)
    host.program.send("198.51.100.7", 80, 1600)
    sample = host.after(0.05)
    assert sample.one_in == 16
    assert by_source(sample) == {"198.51.100.7": 1600}
    assert host.program.asked[-1] == (COUNTED_FOR_S, 16)


def test_it_asks_again_before_the_program_stops_counting_and_ends_it_when_it_is_closed() -> None:
    host = Host()
    for _ in range(100):
        host.after(0.05)
    asked = [seconds for seconds, _ in host.program.asked]
    assert asked == [COUNTED_FOR_S] * 5 or asked == [COUNTED_FOR_S] * 6
    host.counted.close()
    assert host.program.asked[-1] == (0.0, 1)
    assert not host.counted.running


def test_what_a_full_map_pushed_out_is_told_as_lost() -> None:
    host = Host()
    for number in range(40_000):
        host.program.seen[f"198.18.{number // 256}.{number % 256}", 80] = 1
    host.program.arrived += 50_000
    assert host.after(0.05).lost == 10_000


def test_maps_that_cannot_be_read_are_an_error_and_never_no_syns() -> None:
    host = Host()
    host.program.broken = True
    with pytest.raises(SensorError, match="Operation not permitted"):
        host.after(0.05)
    assert not host.counted.running


def test_a_program_that_was_detached_or_replaced_is_an_error() -> None:
    host = Host()
    host.there = None
    with pytest.raises(SensorError, match="does not run at every interface"):
        host.after(0.05)
    with pytest.raises(SensorError):
        host.counted.open(0.0)
    assert not host.counted.running


class FakeSampler:
    """A sampler that keeps one SYN at each read."""

    counting = False

    def __init__(self) -> None:
        self.running = False

    def open(self, now: float) -> None:
        self.running = True

    def read(self, now: float, ports: frozenset[int]) -> SynSample:
        return syns(now, {"192.0.2.1": 1}, 0.05)

    def close(self) -> None:
        self.running = False


def test_the_sampler_rests_where_the_program_counts() -> None:
    host, sampler = Host(), FakeSampler()
    host.counted.close()
    both = CountedOrSampled(sampler, host.counted)
    both.open(0.0)
    assert (both.running, both.counting, sampler.running) == (True, True, False)
    both.close()
    assert not both.running


def test_the_sampler_takes_over_at_once_and_the_program_is_asked_again_later() -> None:
    host, sampler = Host(), FakeSampler()
    host.counted.close()
    both = CountedOrSampled(sampler, host.counted)
    both.open(0.0)
    host.program.broken = True
    assert both.read(1.0, WEB) is None
    assert (sampler.running, both.counting) == (True, False)
    sample = both.read(1.05, WEB)
    assert sample is not None
    assert sample.kept == 1
    host.program.broken = False
    both.close()
    both.open(1.0 + COUNT_AGAIN_S / 2)
    assert (sampler.running, both.counting) == (True, False)
    both.close()
    both.open(1.0 + COUNT_AGAIN_S)
    assert (sampler.running, both.counting) == (False, True)


@pytest.mark.parametrize("noticed", ["at once", "after the SYNs that were turned away"])
def test_a_program_that_was_taken_away_counts_again_as_soon_as_it_is_back(noticed: str) -> None:
    """For a minute the sampler had its turn, which no challenged SYN reaches: it showed 72 of 8,000 a second."""
    host, sampler = Host(), FakeSampler()
    host.counted.close()
    both = CountedOrSampled(sampler, host.counted)
    both.open(0.0)
    if noticed == "at once":
        host.there = None
        assert both.read(1.0, WEB) is None
    else:
        blind_to(both, 8_000.0, 1.0)
        both.open(1.0)
    host.there = None
    assert both.read(2.0, WEB) is not None
    assert (sampler.running, both.counting) == (True, False)
    host.there = host.program
    assert both.read(6.0, WEB) is None
    assert (sampler.running, both.counting) == (False, True)
    host.program.send("203.0.113.7", 80, 40)
    sample = both.read(6.1, WEB)
    assert sample is not None
    assert sample.kept == 40


def test_syns_that_do_not_pass_by_the_program_are_the_samplers() -> None:
    """SYNs with IP options are none of the program's business, and a flood of them must not come from nobody."""
    host, sampler = Host(), FakeSampler()
    host.counted.close()
    both = CountedOrSampled(sampler, host.counted)
    both.open(0.0)
    assert blind_to(both, 0.0, 1.0) == 0
    assert both.counting
    assert blind_to(both, 10_000.0, 1.0) == 0, "the sampler may see them"
    assert not both.running
    both.open(1.0)
    assert (sampler.running, both.counting) == (True, False)
    assert blind_to(both, 10_000.0, 1.1) == 0, "judged while the program was asked"
    assert blind_to(both, 10_000.0, 1.0 + UNJUDGED_S) == 10_000


def test_without_a_program_the_sampler_is_all_there_is() -> None:
    host, sampler = Host(), FakeSampler()
    host.counted.close()
    host.there = None
    both = CountedOrSampled(sampler, host.counted)
    both.open(0.0)
    assert sampler.running
