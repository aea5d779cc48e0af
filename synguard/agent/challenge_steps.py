"""What each tick does about challenges: settings first, then challenges, and an end where clients do not get in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.agent.challenging import MOST_PROVEN, Challenging
from synguard.agent.header_looks import HeaderLooks
from synguard.agent.ledger_writer import ledger_failures_logged
from synguard.agent.mode_parts import ModeParts
from synguard.clock import Clock
from synguard.decision.engine import Decision, Engine
from synguard.decision.ladder import ChallengeState
from synguard.detector.assessment import Assessment
from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.incidents import Phase
from synguard.ledger import Ledger
from synguard.status.model import ChallengeStatus

log: Final = logging.getLogger(__name__)

LAST_ACK_S: Final = 1.0
"""How long an agent that ends amid challenges waits for the ACKs of clients that were answered."""


class ChallengeSteps:
    """Prepares the host for challenges, compares what comes of them, and stops them."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        program: Challenging | None,
        state: Callable[[], ChallengeState] | None = None,
    ) -> None:
        self._evaluator = engine.evaluator_state
        self._engine = engine
        self._ledger = ledger
        self.program = program
        """The challenge program; None where there is none."""
        self._header_looks = HeaderLooks()
        self._state = state or (ChallengeState if program is None else lambda: program.state)

    @property
    def onset_fd(self) -> int | None:
        """A descriptor that is readable once SYNs become many; None amid an incident and without a program."""
        return None if self.program is None or self._engine.phase is not Phase.CALM else self.program.onset_fd

    @property
    def pausing(self) -> bool:
        """Whether challenges pause for a moment, or for a sample, to see whether clients get in better without."""
        return self.program is not None and self.program.pausing

    def learn(self, parts: ModeParts) -> None:
        """Tell the evaluator whether SYNs can be challenged now."""
        self._evaluator.challenge = self._state_with(parts)

    def _state_with(self, parts: ModeParts) -> ChallengeState:
        why = parts.cookies.why_no_challenge
        return ChallengeState(why_not=why) if why and self.program is not None else self._state()

    def follow(
        self,
        decision: Decision,
        assessment: Assessment,
        parts: ModeParts,
        now: float,
        utc: datetime,
        *,
        counting: bool = False,
    ) -> Decision:
        """Have listeners accept cookies before anyone is challenged; where they do not, end every challenge.

        ``counting`` is whether SYNs are counted by source already, or sampled.
        """
        self._end(decision.clients_headers, parts, "a served client sends this header", utc)
        active_bans = self._evaluator.active_bans
        challenged = bool(active_bans.challenge_bans)
        decision = parts.cookies.follow(decision, assessment, now, utc, challenged=challenged)
        program = self.program
        if program is None:
            return decision
        ports = frozenset(listener.port for listener in assessment.pressure if not listener.namespace)
        if not parts.enforcing:
            program.survey(ports, now)
            return decision
        program.carry_options(parts.cookies.timestamps)
        if challenged and not parts.cookies.always:
            program.refuse(f"{SYN_COOKIES} is not 2, and listeners refuse cookies that they did not send")
        calm = self._engine.phase is Phase.CALM
        program.follow(ports, lambda: self._evaluator.proven.latest(MOST_PROVEN), now, used=challenged, calm=calm)
        looked = self._header_looks.follow(program.counts, now, free=calm and not counting)
        if looked is not None:
            self._evaluator.served_headers.look(looked, now)
        program.compare(now, challenged=challenged, many=active_bans.challenges_of_many > 0)
        here = self._state_with(parts)
        if challenged and not here.works and here.known:
            decision = self._stop(decision, parts, here.why_not, utc)
        return decision

    def _stop(self, decision: Decision, parts: ModeParts, why: str, utc: datetime) -> Decision:
        """End every challenge; the next tick does without."""
        ended = [ban.id for ban in self._evaluator.active_bans.challenge_bans if ban.id in parts.enforcement.bans]
        self._end(ended, parts, f"challenges stop: {why}", utc)
        for ban in decision.bans:
            self._evaluator.active_bans.remove(ban)
        return replace(decision, bans=tuple(ban for ban in decision.bans if not ban.action.challenges))

    def _end(self, ids: Sequence[str], parts: ModeParts, why: str, utc: datetime) -> None:
        """End bans early; where the ledger does not take it, they are taken over once more, and ended again."""
        if not ids:
            return
        parts.enforcement.add((), ids)
        with ledger_failures_logged():
            self._ledger.end_bans(ids, utc, why)

    def end(self, parts: ModeParts, clock: Clock) -> None:
        """Put the operator's settings back, once the last challenged client has had time to send its ACK."""
        if self.program is not None and parts.enforcing:
            self.program.rest()
            if parts.cookies.always and self._evaluator.active_bans.challenge_bans:
                clock.wait(LAST_ACK_S) and clock.wait(LAST_ACK_S)  # the first may be the signal's to end
        parts.cookies.close(clock.utcnow())

    def status(self) -> ChallengeStatus:
        """Return whether SYNs can be challenged, and how many targets are."""
        here, active_bans = self._evaluator.challenge, self._evaluator.active_bans
        targets, headers = len(active_bans.challenge_bans), len(active_bans.header_bans)
        return ChallengeStatus(works=here.works, why_not=here.why_not, targets=targets, headers=headers)
