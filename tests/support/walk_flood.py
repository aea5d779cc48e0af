"""Prints a recorded flood tick by tick: ``python -m tests.support.walk_flood RECORDING [--around TARGET] [--ticks N]``.

Each line is one tick from the onset on: what was measured of the target against its limit, its score, and what was
decided. The recording goes through the same detector and decisions as in the agent: the same file, the same lines.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synguard.addresses import format_network, parse_network
from synguard.decision.scores import ACT
from synguard.detector.assessment import Observation
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.recording.reader import Recording
from synguard.replay.player import Player, ReplayStep

_HEAD = f"{'ms':>6}  {'phase':<7}  {'queue':>7}  {'SYN/s':>6}  {'measured of the target':<42}  {'score':>5}  decided"


def line(step: ReplayStep, onset: float, target: str, score: float) -> str:
    """Return one tick as one line."""
    seen, decision = step.assessment, step.decision
    about = [one for one in seen.observations if str(format_network(one.target)) == target]
    queue = max(seen.pressure, key=lambda one: one.half_open, default=None)
    filled = f"{queue.half_open}/{queue.backlog}" if queue else "-"
    said = [f"ban {ban.target} {ban.scope} until {ban.expires_at:%H:%M:%S}" for ban in decision.bans]
    if score >= ACT and not decision.verdicts and decision.wants_proof:
        said.append("waits: who has completed a handshake?")
    said += [one.reason for one in decision.verdicts if str(one.target) == target and not decision.bans]
    return (
        f"{1000 * (step.moment.readings.at - onset):6.0f}  {decision.phase:<7}  {filled:>7}  {seen.flood.syn_pps:6.0f}"
        f"  {', '.join(map(measured, about)) or '-':<42}  {score:5.0f}  {', '.join(dict.fromkeys(said)) or '-'}"
    )


def measured(one: Observation) -> str:
    """Return a signal's value with its error against its limit, as ``synguard why`` writes evidence."""
    error = f" ±{2 * one.variance**0.5:.0f}" if one.variance else ""
    return f"{one.signal} {one.value:.0f}{error} / {one.limit:.0f} from {one.sources}"


def main() -> None:
    """Print the ticks."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("recording", type=Path)
    words.add_argument("--around", default="198.18.7.0/24")
    words.add_argument("--ticks", type=int, default=14)
    asked = words.parse_args()
    target = format_network(parse_network(asked.around))
    config = Config()
    player = Player(config, load_policies(config))
    onset, shown = None, 0
    print(_HEAD)
    with Recording(asked.recording) as recording:
        for moment in recording.moments():
            step = player.play(moment)
            if onset is None and step.assessment.fullest < 0.5:
                continue
            onset = moment.readings.at if onset is None else onset
            scores = [one.points for key, one in player.scores.highest(100) if format_network(key.target) == target]
            print(line(step, onset, target, max(scores, default=0.0)))
            shown += 1
            if shown == asked.ticks:
                break


if __name__ == "__main__":
    main()
