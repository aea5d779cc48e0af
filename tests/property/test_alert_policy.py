"""Whatever comes, messages stay few: the bound of every hour, one start and one end an attack, restarts included."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from synguard.incidents import Incident, Phase
from synguard.notify.alert_policy import AlertPolicy, Memory, Seen
from synguard.notify.message import LONGEST_LINE, MOST_LINES, About, Message
from synguard.policy.integrations import Notify

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
OF_ATTACKS = (About.START, About.GROWN, About.DIGEST, About.END)
STATES = [about for about in About if about not in (*OF_ATTACKS, About.OVER, About.REPORT, About.TEST)]
MEMORY = TypeAdapter(Memory)

Step = tuple[str, float, object]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("attack"), st.floats(0.05, 4000), st.integers(0, 100_000)),
        st.tuples(st.just("grows"), st.floats(0.05, 4000), st.floats(0, 1e6)),
        st.tuples(st.just("calm"), st.floats(0.05, 4000), st.none()),
        st.tuples(st.just("states"), st.floats(0.05, 300), st.sets(st.sampled_from(STATES))),
        st.tuples(st.just("restart"), st.floats(0.05, 4000), st.none()),
    ),
    max_size=60,
)
manners = st.builds(
    Notify.model_construct,
    name=st.just("web1"),
    digest=st.floats(60, 7200),
    quiet=st.floats(0, 600),
    per_hour=st.integers(3, 20),
    unhealthy_for=st.floats(5, 600),
)


class World:
    """Turns steps into what an agent sees, second by second at most, and keeps every message with its time."""

    def __init__(self, settings: Notify) -> None:
        self.now = 1000.0
        self.settings = settings
        self.alert_policy = AlertPolicy(settings, at=self.now, utc=self.utc)
        self.incident: Incident | None = None
        self.count = 0
        self.states: dict[About, str] = {}
        self.told: list[tuple[float, Message]] = []

    @property
    def utc(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now)

    def see(self, incident: Incident | None) -> None:
        seen = Seen(self.now, self.utc, incident, ports=("80 (nginx)",), states=self.states)
        message = self.alert_policy.see(seen)
        if message is not None:
            self.told.append((self.now, message))

    def lasts(self, seconds: float) -> None:
        """Most of a long time is passed over: an agent that is late sees less, and must be told right all the same."""
        self.see(self.incident)
        for part in (0.01, 0.1, 0.5, 1.0):
            self.now += seconds * part / 1.61
            self.see(self.incident)

    def attack(self, seconds: float, bans: int) -> None:
        if self.incident is None:
            self.count += 1
            self.incident = Incident(f"i{self.count}", Phase.ATTACK, "syn-flood", self.utc, bans=bans)
        self.lasts(seconds)

    def grows(self, seconds: float, pps: float) -> None:
        if self.incident is not None:
            self.incident = replace(self.incident, peak_syn_pps=max(self.incident.peak_syn_pps, pps))
        self.lasts(seconds)

    def calm(self, seconds: float) -> None:
        if self.incident is not None:
            ended = Incident(
                self.incident.id, Phase.CALM, self.incident.kind, self.incident.started_at, ended_at=self.utc
            )
            self.incident = None
            self.see(ended)
        self.lasts(seconds)

    def restart(self, seconds: float) -> None:
        memory = MEMORY.validate_json(MEMORY.dump_json(self.alert_policy.memory(self.now, self.utc)))
        self.now += seconds
        self.incident, self.states = None, {}
        self.alert_policy = AlertPolicy(self.settings, memory, at=self.now, utc=self.utc)
        self.see(None)


def lived(settings: Notify, told: list[Step]) -> World:
    world = World(settings)
    for what, seconds, more in told:
        if what == "attack":
            assert isinstance(more, int)
            world.attack(seconds, more)
        elif what == "grows":
            assert isinstance(more, float)
            world.grows(seconds, more)
        elif what == "states":
            assert isinstance(more, set)
            world.states = {about: f"{about} is so" for about in more}
            world.lasts(seconds)
        elif what == "calm":
            world.calm(seconds)
        else:
            world.restart(seconds)
    return world


@given(settings=manners, told=steps)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_no_hour_sees_more_messages_than_allowed(settings: Notify, told: list[Step]) -> None:
    times = [at for at, _ in lived(settings, told).told]
    for at in times:
        assert sum(at <= other < at + 3599.9 for other in times) <= settings.per_hour


@given(settings=manners, told=steps)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_an_attack_has_at_most_one_start_and_one_end_and_an_end_follows_its_start(
    settings: Notify, told: list[Step]
) -> None:
    world = lived(settings, told)
    world.calm(2 * 3600.0)
    world.calm(2 * 3600.0)
    open_attack = ""
    for _, message in world.told:
        if message.attack is None:
            continue
        if message.about is About.START:
            assert open_attack == ""
            open_attack = message.attack.id
        else:
            assert message.attack.id == open_attack
            if message.about is About.END:
                open_attack = ""
    assert open_attack == "", "what was told to begin was told to end"
    counted = Counter((m.about, m.attack.id) for _, m in world.told if m.attack and m.about in (About.START, About.END))
    assert not counted or max(counted.values()) == 1


@given(settings=manners, told=steps)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_every_attack_is_told_or_counted(settings: Notify, told: list[Step]) -> None:
    """A restart may lose the one that was under way and not told yet: its agent has died with it."""
    world = lived(settings, [step for step in told if step[0] != "restart"])
    world.calm(2 * 3600.0)
    world.calm(2 * 3600.0)
    starts = sum(m.about is About.START for _, m in world.told)
    ends = [m.attack.incidents for _, m in world.told if m.about is About.END and m.attack]
    assert len(ends) == starts
    assert sum(ends) <= world.count
    if sum(ends) < world.count:
        assert any("short attacks" in m.title + m.text for _, m in world.told)


@given(settings=manners, told=steps)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_message_is_short_and_plain(settings: Notify, told: list[Step]) -> None:
    for _, message in lived(settings, told).told:
        lines = (message.title, *message.lines)
        assert len(lines) <= MOST_LINES + 1
        assert all(line.isprintable() and 0 < len(line) <= LONGEST_LINE for line in lines)
