"""What is seen, moment by moment, to messages: few, each once, and never more than so many an hour.

A function of its arguments: no clock, no network, no chance. ``AlertPolicy.see`` is to be called about once a second
and whenever an incident begins or ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.incidents import Incident
from synguard.notify import template
from synguard.notify.attack import Attack, AttackSize, began, carried_over
from synguard.notify.message import About, AttackFigures, Message
from synguard.notify.rate_limit import WINDOW_S, RateLimit
from synguard.notify.services import host_name
from synguard.policy.integrations import Notify

GATHER_S: Final = 2.0
"""A start is reported this long after it, so that it can say what was done and whether clients are served."""
AGAIN_S: Final = 3600.0
"""A reported state is reported again only after it has been gone for this long."""
OVER_S: Final = 60.0
"""The end of a reported state is reported after it has been gone for this long."""
ELSEWHERE_S: Final = 60.0
"""Pause after which an attack is reported again because it has come to other ports."""
AFTER_RESTART_S: Final = 60.0
"""How long a new agent waits for the attack that the last one reported, at least."""

PATIENCE_S: Final[Mapping[About, float]] = {About.SUSPENDED: 10.0, About.PLANE: 10.0, About.PEER: 300.0}
"""How long a state must last to be reported; others at once, ``unhealthy`` as the config says."""
LASTING: Final = (About.SUSPENDED, About.PLANE, About.UNHEALTHY, About.PEER)
"""States whose end is reported as well."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known at one moment."""

    at: float
    """Monotonic, seconds."""
    utc: datetime
    incident: Incident | None = None
    """The one under way; with ``ended_at`` set at the moment that ends it."""
    dry_run: bool = False
    ports: tuple[str, ...] = ()
    """Under pressure now, like ``80 (nginx)``."""
    served: str = ""
    """Whether clients are served, one sentence."""
    states: Mapping[About, str] = field(default_factory=dict)
    """What an operator must know of, each with its sentence."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What must outlive the agent."""

    sent: tuple[datetime, ...] = ()
    """The messages of the last hour."""
    told: AttackFigures | None = None
    """The attack whose start was told and whose end was not."""
    untold: int = 0


@dataclass(slots=True)
class _State:
    since: float
    text: str
    told: bool = False
    gone_since: float | None = None
    over_told: bool = False


class AlertPolicy:
    """Decides what is reported, and when."""

    def __init__(self, settings: Notify, memory: Memory | None = None, *, at: float = 0.0, utc: datetime) -> None:
        self._settings = settings
        self._host = host_name(settings)
        self._abouts = {About.START if word == "incident" else About(word) for word in settings.events}
        known = memory or Memory()
        past = [at - max((utc - moment).total_seconds(), 0.0) for moment in known.sent]
        self._rate_limit = RateLimit(settings.per_hour, past, set_aside=known.told is not None)
        self._attack: Attack | None = None
        if known.told is not None:
            self._attack = replace(carried_over(known.told, at, utc), digest_at=at + settings.digest)
        self._untold = known.untold
        self._told_sizes: deque[tuple[float, AttackSize]] = deque(maxlen=settings.per_hour)
        self._states: dict[About, _State] = {}
        self._settle_s = max(settings.quiet, AFTER_RESTART_S) if known.told is not None else settings.quiet

    def see(self, seen: Seen) -> Message | None:
        """Return what is to be reported at this moment: mostly nothing, and never two things."""
        self._follow_attack(seen)
        self._follow_states(seen)
        for told_of in (self._of_attack, self._of_states, self._of_ended_states, self._of_untold):
            message = told_of(seen)
            if message is not None:
                self._rate_limit.spend(seen.at)
                return message
        return None

    def memory(self, at: float, utc: datetime) -> Memory:
        """Return what a next agent must know."""
        attack = self._attack
        told = attack.figures(attack.before.dry_run) if attack is not None and attack.told else None
        sent = tuple(utc - timedelta(seconds=at - moment) for moment in self._rate_limit.sent(at))
        return Memory(sent, told, self._untold)

    def _follow_attack(self, seen: Seen) -> None:
        incident = seen.incident
        if incident is not None:
            if self._attack is None:
                self._attack = began(incident, seen.at, dry_run=seen.dry_run)
                self._settle_s = self._settings.quiet
            else:
                self._attack = self._attack.goes_on(incident, seen.at)
            self._attack = self._attack.on(seen.ports)

    def _of_attack(self, seen: Seen) -> Message | None:
        attack = self._attack
        if attack is None or About.START not in self._abouts:
            self._attack = None if attack is None or self._is_over(attack, seen) else attack
            return None
        if not attack.told:
            return self._start(attack, seen)
        if self._is_over(attack, seen):
            return self._end(attack, seen)
        return self._grown(attack, seen) or self._digest(attack, seen)

    def _is_over(self, attack: Attack, seen: Seen) -> bool:
        return attack.over_since is not None and seen.at - attack.over_since >= self._settle_s

    def _start(self, attack: Attack, seen: Seen) -> Message | None:
        """Tell a start, with room for its end set aside; where there is no room the attack is counted instead."""
        if seen.at - attack.seen_at >= GATHER_S and self._rate_limit.may(
            seen.at, 2, larger=self._is_largest(attack, seen)
        ):
            self._attack = replace(attack.told_now(seen.at), digest_at=seen.at + self._settings.digest)
            self._told_sizes.append((seen.at, attack.size))
            self._rate_limit.set_aside = True
            return template.start(self._host, attack.figures(seen.dry_run), self._more(seen))
        if self._is_over(attack, seen):
            self._attack, self._untold = None, self._untold + 1
        return None

    def _is_largest(self, attack: Attack, seen: Seen) -> bool:
        """Return whether an attack dwarfs all that was reported in the last hour."""
        return all(attack.size.dwarfs(size) for at, size in self._told_sizes if seen.at - at < WINDOW_S)

    def _grown(self, attack: Attack, seen: Seen) -> Message | None:
        """Tell that an attack has become one of another order, or after a pause that it has come to other ports."""
        larger = attack.size.dwarfs(attack.told_size)
        elsewhere = attack.elsewhere and seen.at - attack.told_at >= ELSEWHERE_S
        if attack.over_since is not None or not (larger or elsewhere):
            return None
        if not self._rate_limit.may(seen.at, larger=larger and self._is_largest(attack, seen)):
            return None
        self._attack = attack.told_now(seen.at)
        self._told_sizes.append((seen.at, attack.size))
        return template.grown(self._host, attack.figures(seen.dry_run), self._more(seen), larger=larger)

    def _digest(self, attack: Attack, seen: Seen) -> Message | None:
        if seen.at < attack.digest_at or attack.over_since is not None or About.DIGEST not in self._abouts:
            return None
        self._attack = replace(attack, digest_at=seen.at + self._settings.digest)
        if not self._rate_limit.may(seen.at):
            return None
        return template.digest(self._host, attack.figures(seen.dry_run), self._more(seen))

    def _end(self, attack: Attack, seen: Seen) -> Message:
        self._attack = None
        self._rate_limit.set_aside = False
        return template.end(self._host, attack.figures(seen.dry_run), self._more(seen))

    def _more(self, seen: Seen) -> template.More:
        """Return what else goes into a message of an attack; states that it tells are reported by it."""
        due = self._due_states(seen)
        for state in due.values():
            state.told = True
        untold, self._untold = self._untold, 0
        return template.More(seen.utc, seen.served, tuple((about, state.text) for about, state in due.items()), untold)

    def _follow_states(self, seen: Seen) -> None:
        for about, text in seen.states.items():
            state = self._states.setdefault(about, _State(seen.at, text))
            if state.gone_since is not None and (not state.told or seen.at - state.gone_since >= AGAIN_S):
                state = self._states[about] = _State(seen.at, text)
            state.text, state.gone_since = text, None
        for about in self._states.keys() - seen.states.keys():
            state = self._states[about]
            if state.gone_since is None:
                state.gone_since = seen.at

    def _due_states(self, seen: Seen) -> dict[About, _State]:
        return {
            about: state
            for about, state in self._states.items()
            if about in self._abouts
            and not state.told
            and state.gone_since is None
            and seen.at - state.since >= self._patience(about)
        }

    def _patience(self, about: About) -> float:
        return self._settings.unhealthy_for if about is About.UNHEALTHY else PATIENCE_S.get(about, 0.0)

    def _of_states(self, seen: Seen) -> Message | None:
        due = self._due_states(seen)
        waits = self._attack is not None and not self._attack.told and About.START in self._abouts
        if not due or (waits and seen.at - (self._attack.seen_at if self._attack else 0.0) < GATHER_S):
            return None
        if not self._rate_limit.may(seen.at):
            return None
        for state in due.values():
            state.told = True
        told = tuple((about, state.text) for about, state in due.items())
        return template.states(self._host, seen.utc, told)

    def _of_ended_states(self, seen: Seen) -> Message | None:
        over = [
            (about, state)
            for about, state in self._states.items()
            if about in LASTING and state.told and not state.over_told
            and state.gone_since is not None and seen.at - state.gone_since >= OVER_S
        ]  # fmt: skip
        if not over or not self._rate_limit.may(seen.at):
            return None
        for _, state in over:
            state.over_told = True
        return template.over(self._host, seen.utc, tuple((a, s.text) for a, s in over))

    def _of_untold(self, seen: Seen) -> Message | None:
        """Tell of attacks that were only counted, once there is room and none goes on that would tell of them."""
        if not self._untold or self._attack is not None or not self._rate_limit.may(seen.at, 3):
            return None
        untold, self._untold = self._untold, 0
        return template.summary(self._host, seen.utc, untold)
