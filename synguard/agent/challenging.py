"""Whether SYNs are challenged on this host: the program's plane, where it belongs, and what stands in its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.agent.challenge_pause import ChallengePause
from synguard.agent.handshake_watch import HandshakeWatch
from synguard.agent.onset_thresholds import OnsetThresholds
from synguard.decision.ladder import ChallengeState
from synguard.enforcer.challenge.counts import SynCounts
from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.obstacles import REDIRECTED, SYNPROXY
from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.challenge.preflight import ChallengePreflight
from synguard.enforcer.challenge.program import PASS_EVERY_S, Program, ProgramSettings
from synguard.enforcer.challenge.watch import SAMPLE_ONE_IN, ChallengeAdvice
from synguard.enforcer.locks import APPLY_LOCK, exclusive
from synguard.errors import LockHeldError, NotPermittedError, PlaneError, SensorError, SynguardError
from synguard.logs import event
from synguard.policy.models import Config
from synguard.sensors.attach_points import AttachPointWatch
from synguard.units import format_duration, format_ports

log: Final = logging.getLogger(__name__)

FOLLOW_EVERY_S: Final = 1.0
"""How soon new listeners, interfaces and proven peers are taken in."""
SURVEY_S: Final = 10.0
"""How long a start waits for what stands in the way of challenges, where it cannot be read later."""
MOST_PORTS: Final = 255
MOST_PROVEN: Final = 4_096
"""Proven peers that the program lets pass at their small rate, the latest; all others connect through a challenge."""
LOCK_WAIT_S: Final = 0.1
"""How long the agent waits for another process that changes bans; it tries again a second later."""
PROVEN_EVERY_S: Final = 5.0
"""Peers that are proven meanwhile connect through a challenge."""


class Challenging:  # wide: one part for each thing that the program depends on
    """Loads the program, knows where it belongs, and says whether SYNs can be challenged now."""

    def __init__(self, config: Config, utcnow: Callable[[], datetime]) -> None:
        self._config = config.challenge
        self._lock = config.runtime_dir / APPLY_LOCK
        self._points = AttachPointWatch()
        self._preflight = ChallengePreflight()
        self._handshakes = HandshakeWatch()
        self._at: dict[int, str] = {}
        self._entrances: tuple[Entrance, ...] = ()
        self._usual, self._onsets = OnsetThresholds(), dict[int, int]()
        self._due_at = self._proven_due_at = float("-inf")
        self._timestamps = False
        self._unloaded = ""
        self._pause = ChallengePause()
        self._told = ""
        self._everywhere = False
        self._counts: tuple[Program, SynCounts] | None = None
        self._attached_at = float("-inf")
        self.plane: Final = ChallengePlane(utcnow, lambda: self._at.keys(), self._config.limit_per_second)

    @property
    def onset_fd(self) -> int | None:
        """A descriptor that is readable once SYNs to a port have become many; None without a program."""
        return None if self.plane.program is None else self.plane.program.onset_fd

    def counts(self) -> SynCounts | None:
        """Return what the program counts; None while it does not see what comes in at every interface.

        What it takes to challenge, cookies that listeners accept, it does not take to count.
        """
        program, now = self.plane.program, time.monotonic()
        if program is None or not self._everywhere:
            return None
        if self._counts is None or self._counts[0] is not program or now - self._attached_at >= FOLLOW_EVERY_S:
            self._attached_at = now
            try:
                attached = program.attached()
            except SynguardError:
                return None
            if not self._at.keys() <= attached:
                self._counts = None
            elif self._counts is None or self._counts[0] is not program:
                self._counts = program, SynCounts(program.maps)
        return None if self._counts is None else self._counts[1]

    def load(self, now: float) -> str:
        """Load the program, or take over the one that runs; return why it cannot be, or nothing."""
        try:
            self._follow_points(now)
            self.plane.check()
        except (PlaneError, NotPermittedError, SensorError) as error:
            self._unloaded = str(error)
            log.warning("no challenges: %s", error, extra=event("challenge"))
        return self._unloaded

    @property
    def _refused(self) -> str:
        return self._unloaded or self._pause.at(time.monotonic())

    @property
    def state(self) -> ChallengeState:
        """Whether SYNs can be challenged, by what is known now."""
        found = self._preflight.obstacles
        if refused := self._refused:
            return ChallengeState(why_not=refused)
        if not self._at:
            return ChallengeState(why_not="no interface is known that clients come in by")
        if found is None:
            return ChallengeState(why_not="what stands in the way of challenges is not known yet", known=False)
        everywhere = next((one.text for one in found if one.ports is None), "")
        if everywhere:
            return ChallengeState(why_not=everywhere)
        if self._handshakes.advice is ChallengeAdvice.STOP:
            return ChallengeState(why_not=self._handshakes.reason)
        return ChallengeState(works=True, except_ports=frozenset(port for one in found for port in one.ports or ()))

    @property
    def trouble(self) -> str:
        """Why SYNs are not challenged as they should be, one sentence; empty while they can or may be."""
        found = self._preflight.obstacles or ()
        everywhere = (one.text for one in found if one.ports is None)
        why = self._refused or next(everywhere, "") or self._handshakes.reason
        if why:
            return f"no SYNs are challenged: {why}"
        mendable = (one for one in found if one.code not in (REDIRECTED, SYNPROXY))
        for one in mendable:
            return f"SYNs to port {format_ports(one.ports or ())} are not challenged: {one.text}"
        return f"challenges do not follow changes of this host: {self._told}" if self._told else ""

    def refuse(self, why: str) -> None:
        """Challenge no one for a while, a longer one each time."""
        pause_s = self._pause.refuse(why, time.monotonic())
        if pause_s:
            again = format_duration(pause_s)
            log.error("challenges stop: %s; they are tried again in %s", why, again, extra=event("challenge"))

    def carry_options(self, timestamps: bool) -> None:
        """Write the client's options into timestamps, or none, from now on; listeners read them only where it is 2."""
        if self.plane.program is None or timestamps == self._timestamps:
            return
        before, self._timestamps = self._timestamps, timestamps
        try:
            self.plane.program.configure(self._settings())
        except SynguardError as error:
            self._timestamps = before
            self.refuse(f"the challenge program does not take its settings: {error}")

    def survey(self, ports: frozenset[int], now: float) -> None:
        """Learn whether SYNs could be challenged here; nothing is loaded, attached or set."""
        if now < self._due_at:
            return
        self._due_at = now + FOLLOW_EVERY_S
        try:
            self._follow_points(now)
            self._preflight.follow(ports, self._entrances, now)
        except SynguardError as error:
            self._told = str(error)
        else:
            self._told = ""

    def survey_for_good(self, ports: Callable[[], Iterable[int]], now: float) -> None:
        """Survey once, before this process gives up the rights that it takes."""
        try:
            self._follow_points(now)
            self._preflight.follow(frozenset(ports()), self._entrances, now)
            self._preflight.wait(SURVEY_S)
        except SynguardError as error:
            self._told = str(error)
        self._due_at = float("inf")

    def follow(
        self,
        ports: frozenset[int],
        proven: Callable[[], Iterable[Network]],
        now: float,
        *,
        used: bool,
        calm: bool,
    ) -> None:
        """Take in listening ports, interfaces and, while anyone is challenged, proven peers; once a second."""
        program = self.plane.program
        if program is None or now < self._due_at:
            return
        self._due_at = now + FOLLOW_EVERY_S
        try:
            self._follow_points(now)
            self._preflight.follow(ports, self._entrances, now)
            self._usual.learn(SynCounts(program.maps).by_port(), now, calm=calm)
            self._tell(program, self._usual.of(sorted(ports)[:MOST_PORTS]), proven if used else None, now)
        except LockHeldError:
            return  # others change bans: in a second again
        except SynguardError as error:
            if str(error) != self._told:
                log.error("%s", error, extra=event("challenge"))
            self._told = str(error)
        else:
            self._told = ""

    def _tell(
        self, program: Program, onsets: dict[int, int], proven: Callable[[], Iterable[Network]] | None, now: float
    ) -> None:
        """Tell the program what differs, while no other process gives ports a place or lets peers pass."""
        peers_due = proven if now >= self._proven_due_at else None
        if onsets == self._onsets and peers_due is None:
            return
        with exclusive(self._lock, LOCK_WAIT_S, "another synguard process"):
            if onsets != self._onsets:
                program.watch(onsets)
                self._onsets = onsets
            if peers_due is not None:
                self._proven_due_at = now + PROVEN_EVERY_S
                program.set_proven(self._unchallenged(peers_due))
                program.configure(self._settings())

    def _unchallenged(self, proven: Callable[[], Iterable[Network]]) -> set[Network]:
        """Return who passes: proven peers, and those that keep a way through the firewall's own drops."""
        peers = proven() if self._config.proven_per_second else ()
        return {*peers, *self.plane.exceptions}

    def compare(self, now: float, *, challenged: bool, many: bool = True) -> None:
        """See whether challenged clients get in, ``many`` or single sources; in each tick, since a pause is short."""
        program = self.plane.program
        if program is None:
            return
        try:
            if self._handshakes.follow(program, now, challenged=challenged, many=many):
                program.configure(self._settings())
                if self._handshakes.reason:
                    log.error("challenges stop: %s", self._handshakes.reason, extra=event("challenge"))
        except SynguardError as error:
            self.refuse(f"whether challenged clients get in cannot be seen: {error}")

    @property
    def pausing(self) -> bool:
        """Whether challenges pause for a moment, or for a sample, to see whether clients get in better without."""
        return self._handshakes.advice in (ChallengeAdvice.PAUSE, ChallengeAdvice.SAMPLE)

    def woken(self) -> None:
        """Make ``onset_fd`` quiet again."""
        if self.plane.program is not None:
            self.plane.program.onsets()

    def rest(self) -> None:
        """Leave every interface: no one is challenged once the settings that challenged clients need are put back."""
        try:
            self.plane.detach()
        except SynguardError as error:
            log.error("%s", error, extra=event("challenge"))

    def close(self) -> None:
        """Stop listening for changes."""
        self._points.close()

    def _settings(self) -> ProgramSettings:
        advice = self._handshakes.advice
        return ProgramSettings(
            timestamps=self._timestamps,
            pass_every_s=0.0 if advice is ChallengeAdvice.PAUSE else PASS_EVERY_S,
            sample_one_in=SAMPLE_ONE_IN if advice is ChallengeAdvice.SAMPLE else 0,
            proven_per_second=float(self._config.proven_per_second),
            proven_burst=self._config.proven_burst,
        )

    def _follow_points(self, now: float) -> None:
        found = self._points.follow(now)
        if found is None:
            return
        wanted = self._config.interfaces
        self._at = {one.index: one.name for one in found.points if not wanted or one.name in wanted}
        self._everywhere = bool(self._at) and len(self._at) == len(found.points)
        self._entrances = tuple(
            Entrance(family, name, tuple(found.addresses)) for name in self._at.values() for family in (4, 6)
        )
