"""``synguard upstream``: drop all traffic to one of this host's addresses upstream; the others stay reachable."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from synguard.addresses import Network
from synguard.cli import parameter_types
from synguard.cli.context import utcnow
from synguard.cli.groups import group_of
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.cli.prompt import confirmed
from synguard.errors import RefusedError, SynguardError
from synguard.fleet.orders import Blackholes
from synguard.output.tables import print_json
from synguard.output.times import both_zones
from synguard.policy.models import Config
from synguard.private import private_directory
from synguard.units import format_duration

_HELP = """\
Blackhole one of this host's own addresses upstream (RTBH), and end it.

Examples:
  synguard upstream blackhole 192.0.2.2 --for 30m
  synguard upstream show
  synguard upstream release 192.0.2.2
"""

LONGEST_S = 86_400.0
"""A blackhole ends after a day at the latest; it can be ordered again."""


def blackhole(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="One of [bgp] destinations.")],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="Length of the blackhole, at most 1d.")],
    yes: Yes = False,
    config: ConfigFile = None,
) -> None:
    """Ask the network upstream to drop ALL traffic to an address of this host.

    Examples:
      synguard upstream blackhole 192.0.2.2 --for 30m

    No client reaches the address until the end; other addresses stay reachable.
    The agent announces it within a second, in dry-run too, and withdraws it at
    its end, or when the agent stops.
    """
    target, seconds, settings = parameter_types.network(address), parameter_types.duration(for_), loaded(config)
    _ensure_possible(target, settings)
    if seconds > LONGEST_S:
        raise RefusedError(
            f"--for {for_} is longer than {format_duration(LONGEST_S)}: order it again when that is over"
        )
    question = (
        f"drop ALL traffic to {target.network_address} upstream for {format_duration(seconds)}, clients included?"
    )
    confirmed(question, yes=yes, doing="a blackhole")
    now = utcnow()
    _blackholes(settings).order(target, now + timedelta(seconds=seconds), now)
    print(f"{target.network_address} is blackholed upstream for {format_duration(seconds)}; see: synguard fleet")


def release(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The address of a blackhole.")],
    config: ConfigFile = None,
) -> None:
    """End a blackhole; the agent withdraws it within a second.

    Examples:
      synguard upstream release 192.0.2.2
    """
    target = parameter_types.network(address)
    if not _blackholes(loaded(config)).release(target, utcnow()):
        raise SynguardError(f"no blackhole for {address}: see synguard upstream show")
    print(f"the blackhole for {target.network_address} is withdrawn")


def show(config: ConfigFile = None, json: Json = False) -> None:
    """Show the blackholes that are ordered, and when each ends.

    Examples:
      synguard upstream show
    """
    active = _blackholes(loaded(config)).active(utcnow())
    if json:
        print_json([{"address": str(one.network_address), "ends_at": ends.isoformat()} for one, ends in active.items()])
        return
    for one, ends in active.items():
        print(f"{one.network_address} until {both_zones(ends)}")
    if not active:
        print("no blackhole is ordered")


def _ensure_possible(target: Network, settings: Config) -> None:
    """Return if a blackhole for the target can be announced.

    Raises:
        RefusedError: It is no single address of ``[bgp] destinations``.
        SynguardError: No speaker or no next hop is configured.
    """
    bgp = settings.bgp
    if bgp.speaker == "off" or not bgp.next_hop:
        raise SynguardError("no blackhole can be announced: set speaker and next_hop in [bgp], see docs/fleet.md")
    if target.prefixlen != target.max_prefixlen or target not in bgp.destinations:
        raise RefusedError(f"{target} is not one of [bgp] destinations: only own addresses are blackholed")


def _blackholes(settings: Config) -> Blackholes:
    private_directory(settings.state_dir, "state_dir")
    return Blackholes(settings.state_dir)


upstream = group_of(_HELP, blackhole, release, show)
