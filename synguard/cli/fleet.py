"""``synguard fleet``: the peers that this host learns from and tells."""

from __future__ import annotations

import typer

from synguard.cli.context import utcnow
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import SynguardError
from synguard.output.tables import print_json, print_lines
from synguard.status.conditions import Code
from synguard.status.freshness import agent_runs
from synguard.status.model import PeerStatus, read_status
from synguard.units import format_duration


def fleet(config: ConfigFile = None, json: Json = False) -> None:
    """Show each peer: whether it answers, what was received and sent, the last error.

    Examples:
      synguard fleet
      synguard fleet --json | jq '.[] | select(.reachable == false)'

    Exit code 1 if a peer does not answer or is misconfigured, or no agent runs.
    """
    settings = loaded(config)
    status = read_status(settings.runtime_dir)
    if status is None or agent_runs(settings.runtime_dir) is False:
        raise SynguardError("no agent runs, so its peers are not known: start it with synguard run")
    names = {peer.name for peer in status.peers}
    faults = [one.text for one in status.conditions if one.code is Code.FLEET_FAILED and one.subject not in names]
    if json:
        print_json([peer.model_dump(mode="json") for peer in status.peers])
    elif not status.peers and not faults:
        print("no peer is configured: see [crowdsec] and [bgp] in docs/fleet.md")
    now = utcnow()
    for peer in () if json else status.peers:
        print_lines(_lines(peer, (now - peer.since).total_seconds() if peer.since else None))
    print_lines(f"error: {fault}" for fault in (() if json else faults))
    if faults or any(peer.reachable is False for peer in status.peers):
        raise typer.Exit(SynguardError.exit_code)


def _lines(peer: PeerStatus, since_s: float | None) -> list[str]:
    words = {True: "reachable", False: "NOT REACHABLE", None: "not asked yet"}[peer.reachable]
    since = "" if since_s is None else f" for {format_duration(max(since_s, 0.0))}"
    counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in peer.counts.items())
    lines = [f"{peer.name} at {peer.place}: {words}{since}"]
    lines += [f"  {counts}"] if counts else []
    lines += [f"  {note}" for note in peer.notes]
    lines += [f"  {'error' if peer.reachable is False else 'last error'}: {peer.error}"] if peer.error else []
    return lines
