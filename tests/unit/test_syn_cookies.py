"""When SYN cookies are to be on, and what is done about the kernel's value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synguard.decision.syn_cookies import CookieNeed, CookieStep, next_step
from synguard.detector.assessment import Assessment, FloodFigures, ListenerPressure
from synguard.incidents import Phase

QUIET = 5.0
CENSORED = ListenerPressure(80, 4, "nginx", 129, 128, accept_queue=0, accepting=True, censored=True)
SLOW = ListenerPressure(80, 4, "nginx", 129, 128, accept_queue=129, accepting=False, censored=False)


def look(at: float, *, dropped: float = 0.0, cookies: float = 0.0, full: ListenerPressure | None = None) -> Assessment:
    flood = FloodFigures(dropped_pps=dropped, cookies_sent_pps=cookies, overflow_pps=dropped + cookies)
    return Assessment(at, flood=flood, pressure=(full,) if full else ())


def needed(*looks: Assessment, phase: Phase = Phase.ATTACK) -> bool:
    need = CookieNeed(QUIET)
    return [need.follow(one, phase) for one in looks][-1]


@pytest.mark.parametrize("phase", list(Phase))
def test_two_looks_at_a_queue_that_turns_clients_away_are_enough(phase: Phase) -> None:
    assert not needed(look(1, dropped=9000), phase=phase)
    assert needed(look(1, dropped=9000), look(1.05, dropped=9000), phase=phase)


def test_a_full_queue_counts_although_nothing_is_dropped_yet() -> None:
    assert needed(look(1, full=CENSORED), look(1.05, full=CENSORED))


def test_a_burst_that_touches_the_brim_now_and_then_changes_nothing() -> None:
    assert not needed(look(1, dropped=5), look(1.05), look(3, dropped=5), look(3.05), look(5, dropped=5))


def test_a_full_queue_in_a_container_is_no_reason_to_change_the_host_s_setting() -> None:
    container = replace(CENSORED, namespace="web (net:[4026532290])")
    assert not needed(look(1, full=container), look(1.05, full=container))


def test_a_slow_application_needs_no_cookies() -> None:
    assert not needed(look(1, full=SLOW), look(1.05, full=SLOW), look(1.1, full=SLOW))


def test_the_need_ends_with_the_incident_and_not_before() -> None:
    need = CookieNeed(QUIET)
    for at in (1.0, 1.05):
        need.follow(look(at, dropped=9000), Phase.ATTACK)
    assert need.follow(look(30), Phase.ATTACK)
    assert need.follow(look(60), Phase.COOLING)
    assert not need.follow(look(60.2), Phase.CALM)


def test_cookies_that_are_still_sent_show_that_the_flood_goes_on() -> None:
    need = CookieNeed(QUIET)
    for at in (1.0, 1.05):
        need.follow(look(at, dropped=9000), Phase.CALM)
    assert need.follow(look(20, cookies=9000), Phase.CALM)
    assert need.follow(look(20 + QUIET - 0.1), Phase.CALM)
    assert not need.follow(look(20 + QUIET), Phase.CALM)


def test_what_an_earlier_process_turned_on_is_wanted_until_it_has_been_quiet_for_as_long() -> None:
    need = CookieNeed(QUIET)
    need.resume(100.0)
    assert need.follow(look(100.0), Phase.CALM)
    assert need.follow(look(100 + QUIET - 0.1), Phase.CALM)
    assert not need.follow(look(100 + QUIET), Phase.CALM)


@pytest.mark.parametrize(
    ("wanted", "actual", "held", "yielded", "step"),
    [
        (1, 0, None, False, CookieStep.TURN_ON),
        (1, 1, None, False, CookieStep.LEAVE),
        (1, 2, None, False, CookieStep.LEAVE),
        (0, 0, None, False, CookieStep.LEAVE),
        (0, 1, None, False, CookieStep.LEAVE),
        (1, 1, 1, False, CookieStep.LEAVE),
        (0, 1, 1, False, CookieStep.PUT_BACK),
        (1, 2, 1, False, CookieStep.YIELD),
        (0, 2, 1, False, CookieStep.YIELD),
        (0, 0, 1, False, CookieStep.YIELD),
        (1, 0, None, True, CookieStep.LEAVE),
        (2, 0, None, False, CookieStep.TURN_ON),
        (2, 1, None, False, CookieStep.TURN_ON),
        (2, 1, 1, False, CookieStep.TURN_ON),
        (2, 3, None, False, CookieStep.TURN_ON),
        (2, 2, None, False, CookieStep.LEAVE),
        (2, 2, 2, False, CookieStep.LEAVE),
        (1, 2, 2, False, CookieStep.LEAVE),
        (0, 2, 2, False, CookieStep.PUT_BACK),
        (2, 1, 2, False, CookieStep.YIELD),
        (2, 1, None, True, CookieStep.LEAVE),
    ],
)
def test_every_case(wanted: int, actual: int, held: int | None, yielded: bool, step: CookieStep) -> None:
    assert next_step(wanted=wanted, actual=actual, held=held, yielded=yielded) is step
