import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import SensorError
from synguard.sensors import syn_sampler
from synguard.sensors.bpf import nothing
from synguard.sensors.packet_ring import PacketRing
from synguard.sensors.syn_sampler import MAX_ONE_IN, OneIn, SynSampler

LIMIT = 20_000


def settle(one_in: OneIn, syns_per_second: float, seconds: float, tick_s: float = 0.05) -> list[int]:
    """Feed a steady rate and return the value after each tick."""
    values = []
    for _ in range(round(seconds / tick_s)):
        one_in.follow(round(syns_per_second * tick_s / one_in.value), tick_s)
        values.append(one_in.value)
    return values


def test_a_rate_within_bounds_is_read_whole() -> None:
    assert set(settle(OneIn(LIMIT), LIMIT, 5)) == {1}


def test_one_look_at_a_flood_is_enough_to_rise_to_where_it_can_be_borne() -> None:
    one_in = OneIn(LIMIT)
    assert one_in.follow(25_000, 0.05)
    assert one_in.value == 32


def test_a_flood_that_ends_is_read_whole_again_within_a_second() -> None:
    one_in = OneIn(LIMIT)
    settle(one_in, 500_000, 1)
    assert settle(one_in, 100, 1.0)[-1] == 1


def test_a_burst_in_a_very_short_window_is_no_rate() -> None:
    one_in = OneIn(LIMIT)
    assert not one_in.follow(900, 0.001)


@given(st.floats(0, 50_000_000), st.floats(0.02, 1.0))
def test_at_a_steady_rate_it_settles_and_stays_within_bounds(rate: float, tick_s: float) -> None:
    one_in = OneIn(LIMIT)
    settle(one_in, rate, 3, tick_s)
    last = set(settle(one_in, rate, 5, tick_s))
    assert len(last) == 1
    assert rate / one_in.value <= LIMIT * 1.05 + 1 / tick_s


@given(st.lists(st.tuples(st.integers(0, 10_000_000), st.floats(0.0001, 100))))
def test_it_is_always_a_power_of_two_within_its_bounds(windows: list[tuple[int, float]]) -> None:
    one_in = OneIn(LIMIT)
    for kept, window_s in windows:
        one_in.follow(kept, window_s)
        assert 1 <= one_in.value <= MAX_ONE_IN
        assert one_in.value & (one_in.value - 1) == 0


class FullRing(PacketRing):
    """A ring whose kernel takes no filter any more but the one that keeps nothing."""

    def __init__(self, protocol: int, frames: int, frame: int = 256) -> None:
        self.lost = 0
        self.refuses = False

    def attach(self, program: bytes) -> None:
        if self.refuses and program != nothing():
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    def read(self) -> object:  # type: ignore[override]
        return syn_sampler.np.empty((0, 176), "u1"), syn_sampler.np.empty(0, "u4")

    def close(self) -> None:
        pass


def test_a_refused_filter_is_an_error_now_and_later_never_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syn_sampler, "PacketRing", FullRing)
    sampler = SynSampler(LIMIT)
    sampler.open(0.0)
    sampler.read(0.0, frozenset({80}))
    for ring in sampler._rings:
        ring.refuses = True  # type: ignore[attr-defined]
    with pytest.raises(SensorError, match="cannot sample SYNs: Cannot allocate memory"):
        sampler.read(0.0, frozenset({81}))
    assert not sampler.running
    with pytest.raises(SensorError, match="not open"):
        sampler.read(0.0, frozenset({81}))


def test_a_kernel_without_packet_sockets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(protocol: int, frames: int, frame: int) -> PacketRing:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(syn_sampler, "PacketRing", refuse)
    with pytest.raises(SensorError, match="CONFIG_PACKET"):
        SynSampler(LIMIT).open(0.0)
