"""Challenges that refuse clients stop within a second; floods and bad ACKs stop none."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

import numpy as np
import pytest

from synguard.enforcer.challenge.watch import (
    FIRST_AGAIN_S,
    SAMPLE_ONE_IN,
    STOPPED_S,
    Accepted,
    ChallengeAdvice,
    ChallengeWatch,
    HandshakeCount,
    chance_of,
    is_refusal,
)

TICK_S = 0.05
PASSES = {ChallengeAdvice.PAUSE: 1.0, ChallengeAdvice.SAMPLE: 1 / SAMPLE_ONE_IN}
"""Advice → the share of SYNs that reaches the listeners."""


class Host:
    """A host whose clients come at random; what becomes of their ACKs is asked of ``gets_in``."""

    def __init__(
        self,
        rate: float,
        gets_in: Callable[[bool], bool],
        seed: int = 1,
        round_trip_s: float = 0.03,
        *,
        answers_arrive: bool = True,
        at_once: int = 1,
        taken: bool = True,
        others: float = 0.0,
    ) -> None:
        self.watch = ChallengeWatch()
        self.now = 100.0
        self.advice = ChallengeAdvice.CHALLENGE
        self.paused_s = 0.0
        """Seconds' worth of a flood that reached the listeners."""
        self._rate, self._gets_in, self._round_trip_s = rate, gets_in, round_trip_s
        self._chance = np.random.default_rng(seed)
        self._answered = self._accepted = self._returned = self._taken = 0
        self._answers_arrive, self._counts_taken = answers_arrive, taken
        self._others = others
        """Clients a second that are not challenged."""
        self._at_once = at_once
        """Connections with which each client comes."""
        self._on_their_way: list[tuple[float, bool, bool]] = []

    def runs(self, seconds: float, flood: int = 12_000, *, challenging: bool = True, many: bool = True) -> float | None:
        """Let time pass; return after how many seconds challenges were stopped, or None."""
        start = self.now
        while self.now < start + seconds:
            self.now += TICK_S
            self._clients_come(flood, challenging)
            reading = HandshakeCount(self.now, self._answered, self._accepted, self._returned, self._taken)
            self.advice = self.watch.follow(reading, challenging=challenging, many=many)
            if self.advice is ChallengeAdvice.STOP:
                return self.now - start
            self.paused_s += TICK_S * PASSES.get(self.advice, 0.0)
        return None

    def _clients_come(self, flood: int, challenging: bool) -> None:
        challenged = challenging and self.advice in (ChallengeAdvice.CHALLENGE, ChallengeAdvice.SAMPLE)
        sampled = 1 / SAMPLE_ONE_IN if self.advice is ChallengeAdvice.SAMPLE else 0.0
        self._answered += round(flood * TICK_S * (1 - sampled)) if challenged else 0
        self._accepted += self._chance.poisson(self._others * TICK_S)
        for _ in range(self._chance.poisson(self._rate / self._at_once * TICK_S)):
            answered = challenged and self._chance.random() >= sampled
            if not answered or self._answers_arrive:
                at = self.now + self._chance.exponential(self._round_trip_s)
                for _ in range(self._at_once):
                    heappush(self._on_their_way, (at, challenging, self._gets_in(answered)))
        while self._on_their_way and self._on_their_way[0][0] <= self.now:
            _, challenged, gets_in = heappop(self._on_their_way)
            self._returned += challenged
            self._taken += challenged and gets_in and self._counts_taken
            self._accepted += gets_in


def all_get_in(challenged: bool) -> bool:
    return True


def only_unchallenged_get_in(challenged: bool) -> bool:
    return not challenged


@pytest.mark.parametrize(("rate", "of_200"), [(60, 180), (100, 196), (300, 200), (3000, 200)])
def test_challenges_that_refuse_clients_stop_within_a_second(rate: int, of_200: int) -> None:
    times = [Host(rate, only_unchallenged_get_in, seed).runs(10) for seed in range(200)]
    assert sum(took is not None and took <= 1.0 for took in times) >= of_200


@pytest.mark.parametrize(("rate", "median_s"), [(5, 100), (10, 15), (30, 2), (60, 1), (100, 1)])
def test_how_soon_a_refusal_is_seen_is_a_question_of_how_many_clients_come(rate: int, median_s: float) -> None:
    times = sorted(Host(rate, only_unchallenged_get_in, seed).runs(1200) or math.inf for seed in range(100))
    print(f"\n{rate} clients a second: median {times[50]:.2f} s, 95 of 100 within {times[95]:.2f} s")
    assert times[-1] < math.inf
    assert times[50] <= median_s


@pytest.mark.parametrize("rate", [0, 2, 60, 1000])
@pytest.mark.parametrize("round_trip_s", [0.001, 0.3])
def test_a_flood_whose_answers_never_return_stops_no_challenge(rate: int, round_trip_s: float) -> None:
    stopped = [Host(rate, all_get_in, seed, round_trip_s).runs(40) is not None for seed in range(30)]
    assert sum(stopped) <= 1, "chance alone: 0.001 for each comparison"


@pytest.mark.parametrize(("rate", "at_once"), [(60, 6), (300, 6), (60, 12), (600, 30)])
def test_browsers_that_open_several_connections_at_once_stop_no_challenge_that_is_in_doubt(
    rate: int, at_once: int
) -> None:
    """Each connection was one chance by itself: half of the attacks on such a host ended challenges in doubt."""

    def is_stopped(seed: int) -> bool:
        return Host(rate, all_get_in, seed, at_once=at_once, taken=False).runs(40) is not None

    stopped = sum(map(is_stopped, range(100)))
    print(f"\n{rate} connections a second, {at_once} at once: challenges were stopped in {stopped} of 100 attacks")
    assert stopped <= 6


def test_clients_that_stop_coming_when_the_flood_begins_stop_no_challenge() -> None:
    """An attacker opened connections for hours and now opens none: what used to be normal is no measure."""
    host = Host(500, all_get_in)
    host.runs(30, challenging=False)
    host._rate = 0
    assert host.runs(60) is None


def test_while_cookies_come_back_and_are_accepted_challenges_never_pause() -> None:
    """In each pause all SYNs reached the listener: 0.3 s of 2 at first, for hosts that flood and connect themselves."""
    for rate, many in ((60, True), (10, True), (1, False)):
        host = Host(rate, all_get_in)
        assert host.runs(300, many=many) is None
        assert host.paused_s == 0


@pytest.mark.parametrize("others", [0.0, 40.0])
def test_where_no_cookie_comes_back_less_than_one_part_in_a_hundred_reaches_the_listener(others: float) -> None:
    """A tenth of the first seconds did, in pauses of 0.3 s, though no client was there to be refused."""
    host = Host(0, all_get_in, others=others)
    host.runs(0.5)
    for seconds in (5, 10, 300):
        before = host.paused_s
        host.runs(seconds)
        print(f"\n{others:.0f} unchallenged a second, {seconds} s: {(host.paused_s - before) / seconds:.2%} passes")
        assert host.paused_s - before < 0.01 * seconds
    assert host.paused_s > 0


def test_single_sources_that_never_answer_are_sampled_seldom() -> None:
    host = Host(0, all_get_in)
    host.runs(320, many=False)
    assert 0 < host.paused_s <= 0.45


def test_answers_that_never_arrive_are_noticed_too() -> None:
    times = [Host(60, all_get_in, seed, answers_arrive=False).runs(10) for seed in range(100)]
    print(f"\n60 clients a second: half within {sorted(took or 10.0 for took in times)[50]:.2f} s")
    assert sum(took is not None and took <= 2.1 for took in times) >= 90


def test_challenges_that_were_stopped_are_tried_again_after_a_while_and_then_later() -> None:
    host = Host(300, only_unchallenged_get_in)
    assert host.runs(2) is not None
    assert "do not get in" in host.watch.reason
    first = host.now
    host.advice = ChallengeAdvice.STOP
    host.runs(1)
    assert host.advice is ChallengeAdvice.STOP
    again = [stopped(host) for _ in range(2)]
    assert again[0] - first == pytest.approx(STOPPED_S, abs=1.5)
    assert again[1] - again[0] == pytest.approx(2 * STOPPED_S, abs=1.5)


def stopped(host: Host) -> float:
    """Let time pass until challenges are tried and stopped again; return when."""
    while host.advice is ChallengeAdvice.STOP:
        host.runs(TICK_S)
    while host.advice is not ChallengeAdvice.STOP:
        host.runs(TICK_S)
    return host.now


def test_a_stop_outlasts_calm_and_the_next_attack() -> None:
    host = Host(300, only_unchallenged_get_in)
    assert host.runs(2) is not None
    host.runs(1, challenging=False)
    assert host.runs(0.2) is not None


def test_nothing_is_compared_while_nothing_is_answered() -> None:
    host = Host(60, all_get_in)
    assert host.runs(60, flood=0) is None
    assert host.paused_s == 0


def test_a_rule_that_comes_amid_an_attack_is_noticed_at_the_next_comparison() -> None:
    host = Host(300, all_get_in)
    assert host.runs(FIRST_AGAIN_S) is None
    host._gets_in = only_unchallenged_get_in
    took = host.runs(20)
    assert took is not None
    assert took < 4 * FIRST_AGAIN_S


def test_half_as_many_handshakes_are_a_refusal_only_where_chance_does_not_explain_them() -> None:
    assert is_refusal(Accepted(0, 0.4), Accepted(10, 0.4))
    assert not is_refusal(Accepted(0, 0.4), Accepted(9, 0.4)), "2 to the power of -9 is more than 0.001"
    assert not is_refusal(Accepted(0, 0.4), Accepted(0, 0.4))
    assert not is_refusal(Accepted(600, 0.4), Accepted(1000, 0.4)), "more than half"
    assert is_refusal(Accepted(400, 0.4), Accepted(1000, 0.4))
    assert not is_refusal(Accepted(0, 0.4), Accepted(24, 0.4), at_once=6.0), "4 clients"


def test_the_chance_is_that_of_the_binomial_distribution() -> None:
    assert chance_of(0, 10, 0.5) == pytest.approx(2**-10)
    assert chance_of(10, 10, 0.5) == pytest.approx(1)
    assert chance_of(170, 400, 0.5) == pytest.approx(chance_of(170, 401, 0.5), rel=0.2), "where both ways meet"
