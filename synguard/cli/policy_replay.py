"""``synguard policy replay``: what other policies would have made of recorded readings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from synguard.cli.options import ConfigFile, Json
from synguard.units import format_duration


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of synguard run --record.")],
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="PACK|FILE", help="Replay with this pack or policy file; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of random values, such as jitter.")] = 0,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show what the policies would have done with recorded traffic.

    Examples:
      synguard policy replay day.rec
      synguard policy replay day.rec --policy web --policy default
      synguard policy replay day.rec --policy mine.toml --json

    Shows bans, who was spared, and who came close. Nothing is banned, and only
    the file is read. Without --policy the configured policies are used. The same
    recording, policies and seed give the same output. Protected are those that
    the recording or [allow] of the config names.
    """
    from synguard.cli.recordings import allowed, moments, replaying
    from synguard.output.tables import print_json
    from synguard.recording.reader import Recording
    from synguard.replay.player import Player
    from synguard.replay.replay_result import ReplayResult
    from synguard.report.replay import print_replay, replay_shape

    settings, policies = replaying(config, policy)
    player, result = Player(settings, policies, seed, allowed(settings)), ReplayResult()
    began = time.perf_counter()
    with Recording(file) as recording:
        for moment in moments(recording, "replay"):
            result.add(player.play(moment), player.scores)
    took = max(time.perf_counter() - began, 1e-9)
    pace = f"{result.seconds / took:,.0f} times real speed"
    typer.echo(f"{format_duration(result.seconds)} played in {format_duration(took)}: {pace}", err=True)
    if json:
        print_json(replay_shape(result, recording.head, policies, not recording.cut_short))
        return
    print_replay(result, recording.head, policies, not recording.cut_short)
