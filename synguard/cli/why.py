"""``synguard why``: everything known about one address or prefix."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from synguard.addresses import Network, overlaps, parse_network
from synguard.cli import parameter_types
from synguard.cli.context import ledger_for_reading, protected_here, utcnow, working_plane
from synguard.cli.options import ConfigFile, Json, loaded, policies_in_effect
from synguard.errors import SynguardError
from synguard.operator.ban import BanRequest, assess, read_host_context
from synguard.output.tables import print_json, print_lines
from synguard.report.knowledge import Knowledge, knowledge_lines, knowledge_shape
from synguard.status.freshness import agent_runs
from synguard.status.model import read_status


def why(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An address or prefix, IPv4 or IPv6.")],
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show everything known about an address: bans, verdicts, evidence, protection.

    Examples:
      synguard why 203.0.113.7
      synguard why 2001:db8:7::/48 --json

    For an address that was never over a limit, it shows the limits that apply.
    """
    known = _known(parameter_types.network(address), config)
    now = utcnow()
    if json:
        print_json(knowledge_shape(known, now))
        return
    print_lines(knowledge_lines(known, now))


def _known(network: Network, config: Path | None) -> Knowledge:
    """Gather what ledger, agent, sockets and protection know of a network."""
    settings = loaded(config)
    warnings: list[str] = []
    with ledger_for_reading(settings) as ledger:
        bans, verdicts = tuple(ledger.bans_of(network)), tuple(ledger.verdicts_of(network))
    protected = protected_here(settings)
    around, unknown = read_host_context(protected, ())
    impact = assess(BanRequest((network,), None), around)[0]
    status = read_status(settings.runtime_dir) if agent_runs(settings.runtime_dir) is not False else None
    try:
        policies = policies_in_effect(config)
    except SynguardError as error:
        warnings.append(str(error))
        policies = ()
    active_bans = any(one.stands(utcnow()) and not one.ban.dry_run for one in bans)
    actual, places = None, {}
    if active_bans:
        with suppress(SynguardError):  # not for this user to read, or no plane works
            from synguard.enforcer.verb_plane import held_at

            plane = working_plane(settings)
            actual = plane.read()
            places = {one.ban.id: held_at(plane, one.ban) for one in bans}
    return Knowledge(
        network=network,
        places=places,
        stopped=actual.stopped if actual else None,
        protected=impact.protected,
        own=impact.absolute,
        sockets=impact.sockets,
        targets=tuple(one for one in status.targets if overlaps(parse_network(one.target), network)) if status else (),
        leaks=tuple(one for one in status.leaks if overlaps(parse_network(one.target), network)) if status else (),
        bans=bans,
        verdicts=verdicts,
        policies=policies,
        warnings=(*unknown, *warnings),
    )
