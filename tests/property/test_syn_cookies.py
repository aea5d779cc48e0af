"""Whatever the weather, the operator and the killer do: no value is put back that was not ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from synguard.agent.syn_cookies import SynCookies
from synguard.decision.engine import Decision
from synguard.decision.syn_cookies import CookieNeed
from synguard.detector.assessment import Assessment, FloodFigures, ListenerPressure
from synguard.enforcer.syn_cookies_note import CookieNoteFile
from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.model import Mode, Phase
from synguard.policy.models import Config
from tests.support.fake_sysctl import FakeSysctl

UTC_NOW = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config(mode=Mode.ENFORCE)


@dataclass(frozen=True)
class Turn:
    passed: float
    dropped: bool
    cookies: bool
    censored: bool
    phase: Phase
    operator: int | None
    """The value that somebody sets before this turn; None for nobody."""
    killed: bool
    """Whether the agent dies, and another starts, before this turn."""

    def assessment(self, at: float) -> Assessment:
        listener = ListenerPressure(80, 4, "", 129 if self.censored else 3, 128, 0, True, self.censored)
        dropped, cookies = 9000.0 * self.dropped, 9000.0 * self.cookies
        flood = FloodFigures(dropped_pps=dropped, cookies_sent_pps=cookies, overflow_pps=dropped + cookies)
        return Assessment(at, flood=flood, pressure=(listener,))


turns = st.lists(
    st.builds(
        Turn,
        passed=st.sampled_from([0.05, 0.2, 0.2, 0.9, 5.0, 31.0]),  # two looks, a pause, a calm
        dropped=st.booleans(),
        cookies=st.booleans(),
        censored=st.booleans(),
        phase=st.sampled_from(Phase),
        operator=st.sampled_from([None, None, None, None, None, 0, 1, 2]),
        killed=st.sampled_from([False, False, False, True]),
    ),
    min_size=5,
    max_size=30,
)


class Host:
    """One kernel setting, one note, and agents that come and go."""

    def __init__(self, home: Path, initial: int) -> None:
        self.sysctl = FakeSysctl(initial)
        self.notes = CookieNoteFile([home], kernel=lambda: "this one")
        self.now = 0.0
        self.starts()

    def starts(self) -> None:
        self.agent = SynCookies(self.sysctl, self.notes, lambda *_: None, CONFIG)
        self.agent.adopt(self.now)

    def follow(self, turn: Turn) -> None:
        self.agent.follow(Decision(phase=turn.phase), turn.assessment(self.now), self.now, UTC_NOW)


@given(initial=st.sampled_from([0, 0, 1, 2]), story=turns)
def test_what_the_operator_set_last_is_what_stands_in_the_end(initial: int, story: list[Turn]) -> None:
    """But for a 1 of his while ours is 1: the kernel does not tell who wrote it."""
    with TemporaryDirectory() as home:
        host, his, unclear = Host(Path(home), initial), initial, False
        for turn in story:
            host.now += turn.passed
            if turn.operator is not None:
                unclear = turn.operator == 1 and host.notes.read() is not None
                his = host.sysctl.cookies = turn.operator
            if turn.killed:
                host.starts()
            host.follow(turn)
            assert unclear or host.sysctl.cookies in (his, 1)
            assert his != 2 or host.sysctl.cookies == 2
        host.agent.close(UTC_NOW)
        assert unclear or host.sysctl.cookies == his
        assert host.notes.read() is None


@given(initial=st.sampled_from([0, 1, 2]), story=turns)
def test_the_same_turn_twice_equals_once(initial: int, story: list[Turn]) -> None:
    with TemporaryDirectory() as home:
        host = Host(Path(home), initial)
        for turn in story:
            host.now += turn.passed
            host.sysctl.cookies = host.sysctl.cookies if turn.operator is None else turn.operator
            host.follow(turn)
            before, tries = host.sysctl.read(SYN_COOKIES), host.sysctl.tries
            host.follow(turn)
            assert (host.sysctl.read(SYN_COOKIES), host.sysctl.tries) == (before, tries)


@given(story=turns)
def test_the_need_ends_only_at_calm(story: list[Turn]) -> None:
    need, at = CookieNeed(30.0), 0.0
    for turn in story:
        at += turn.passed
        before = need.wanted
        after = need.follow(turn.assessment(at), turn.phase)
        assert after or not before or turn.phase is Phase.CALM
