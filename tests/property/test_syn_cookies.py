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
from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS
from synguard.enforcer.sysctl_note import SysctlNoteFile
from synguard.incidents import Phase
from synguard.model import Mode
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
    setting: str
    """Which one he sets."""
    challenged: bool
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
        setting=st.sampled_from([SYN_COOKIES, TCP_TIMESTAMPS]),
        challenged=st.sampled_from([False, False, True]),
        killed=st.sampled_from([False, False, False, True]),
    ),
    min_size=5,
    max_size=30,
)


class Host:
    """The two kernel settings, their notes, and agents that come and go."""

    def __init__(self, home: Path, cookies: int, timestamps: int) -> None:
        self.sysctl = FakeSysctl(cookies, timestamps)
        self.home, self.now = home, 0.0
        self.starts()

    def notes(self, name: str) -> SysctlNoteFile:
        return SysctlNoteFile([self.home], name, kernel=lambda: "this one")

    def starts(self) -> None:
        self.agent = SynCookies(self.sysctl, self.notes, lambda *_: None, CONFIG)
        self.agent.adopt(self.now)

    def follow(self, turn: Turn) -> None:
        decision, seen = Decision(phase=turn.phase), turn.assessment(self.now)
        self.agent.follow(decision, seen, self.now, UTC_NOW, challenged=turn.challenged)


values = st.sampled_from([0, 0, 1, 2])


@given(cookies=values, timestamps=values, story=turns)
def test_what_the_operator_set_last_is_what_stands_in_the_end(cookies: int, timestamps: int, story: list[Turn]) -> None:
    """But for one of his that is ours already: the kernel does not tell who wrote it."""
    with TemporaryDirectory() as home:
        host, his = Host(Path(home), cookies, timestamps), {SYN_COOKIES: cookies, TCP_TIMESTAMPS: timestamps}
        unclear = dict.fromkeys(his, False)
        for turn in story:
            host.now += turn.passed
            if turn.operator is not None:
                note = host.notes(turn.setting).read()
                unclear[turn.setting] = note is not None and note.made == turn.operator
                his[turn.setting] = host.sysctl.values[turn.setting] = turn.operator
            if turn.killed:
                host.starts()
            host.follow(turn)
            for name, value in host.sysctl.values.items():
                assert unclear[name] or value in (his[name], *((1, 2) if name == SYN_COOKIES else (2,)))
                assert unclear[name] or his[name] != 2 or value == 2
        host.agent.close(UTC_NOW)
        for name, value in host.sysctl.values.items():
            assert unclear[name] or value == his[name]
            assert host.notes(name).read() is None


@given(cookies=values, timestamps=values, story=turns)
def test_the_same_turn_twice_equals_once(cookies: int, timestamps: int, story: list[Turn]) -> None:
    with TemporaryDirectory() as home:
        host = Host(Path(home), cookies, timestamps)
        for turn in story:
            host.now += turn.passed
            if turn.operator is not None:
                host.sysctl.values[turn.setting] = turn.operator
            host.follow(turn)
            before, tries = dict(host.sysctl.values), host.sysctl.tries
            host.follow(turn)
            assert (host.sysctl.values, host.sysctl.tries) == (before, tries)


@given(story=turns)
def test_the_need_ends_only_at_calm(story: list[Turn]) -> None:
    need, at = CookieNeed(30.0), 0.0
    for turn in story:
        at += turn.passed
        before = need.wanted
        after = need.follow(turn.assessment(at), turn.phase)
        assert after or not before or turn.phase is Phase.CALM
