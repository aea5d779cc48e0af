"""When connections are listened to as they end."""

from __future__ import annotations

import pytest

from synguard.agent.short_lived import AGAIN_S, LINGER_S, UNSEEN_PPS, ShortLived
from synguard.errors import SensorError
from synguard.readings import Readings
from tests.support.fake_ended import FakeEnded
from tests.support.manual_clock import ManualClock
from tests.support.traffic import sockets


def test_they_are_listened_to_while_handshakes_are_missed_and_for_some_seconds_more() -> None:
    clock = ManualClock()
    ended = FakeEnded(clock, dict, 80)
    short_lived = ShortLived(ended)
    short_lived.want(UNSEEN_PPS - 1, 0.0)
    assert not ended.running
    short_lived.want(UNSEEN_PPS, 1.0)
    assert ended.running
    short_lived.want(0.0, LINGER_S)
    assert ended.running
    short_lived.want(0.0, LINGER_S + 1.1)
    assert not ended.running


def test_what_ended_waits_for_a_look_at_the_table_and_other_ports_are_left_out() -> None:
    clock = ManualClock()
    short_lived = ShortLived(FakeEnded(clock, lambda: {"203.0.113.7": 100}, 80))
    short_lived.want(1000.0, 0.0)
    for _ in range(5):
        clock.advance(0.2)
        assert short_lived.add_to(Readings(1.0), frozenset({80})).ended is None
    ended = short_lived.add_to(Readings(2.0, connections=sockets(2.0)), frozenset({80})).ended
    assert ended is not None
    assert len(ended) == 100
    clock.advance(1.0)
    ended = short_lived.add_to(Readings(3.0, connections=sockets(3.0)), frozenset({443})).ended
    assert ended is not None
    assert len(ended) == 0


def test_a_kernel_that_does_not_tell_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    class Refused(FakeEnded):
        def open(self) -> None:
            raise SensorError("ended connections cannot be listened to: Protocol not supported")

    short_lived = ShortLived(Refused(ManualClock(), dict, 80))
    for turn in range(5):
        short_lived.want(1000.0, turn * AGAIN_S)
    assert len(caplog.records) == 1
