"""``synguard ban``: ban by hand, after showing what it would hit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.errors import UsageError
from synguard.model import Action, Scope

if TYPE_CHECKING:
    from synguard.agent.manual import Impact, Order
    from synguard.model import Ban
    from synguard.policy.models import Config
    from synguard.readings import Protected

MOST_PORTS = 64
"""Each port of each target is one entry in the kernel."""


def ban(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET", help="Addresses or prefixes, IPv4 or IPv6.")],
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long: 30s, 10m, 1h30m, 7d, or permanent.")
    ] = "1h",
    scope: Annotated[
        Scope | None,
        typer.Option("--scope", help="new: new connections only; all: every packet. Default all, with --ports new."),
    ] = None,
    action: Annotated[
        Action, typer.Option("--action", help="drop in silence, or reject with a TCP reset.")
    ] = Action.DROP,
    ports: Annotated[str, typer.Option("--ports", metavar="80,443", help="Close only these local TCP ports.")] = "any",
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who read the report.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also protected targets and very wide prefixes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would hit, change nothing.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Ban addresses or prefixes by hand. The kernel ends the ban in time, agent or no agent.

    Examples:
      synguard ban 203.0.113.7                          one hour, every packet
      synguard ban 203.0.113.0/24 2001:db8:7::/48 --for 2h
      synguard ban 203.0.113.7 --ports 80,443           no new connections to these
      synguard ban 203.0.113.0/24 --dry-run             what would it hit?
      synguard ban 203.0.113.7 --for permanent --reason "scraper, ticket 4711"

    Shows live connections of the target first. Refuses (exit code 3) protected
    targets (gateways, resolvers, the allow-list, people logged in over SSH) and
    prefixes wider than /8 or, for IPv6, /32, unless --force; this host's own
    addresses always. Of several targets all are banned, or none.
    """
    order = _order(targets, lasts, scope, action, ports, reason, force)
    settings = loaded(config)
    if dry_run:
        _rehearse(order, settings, json)
    else:
        _carry_out(order, settings, json, yes, "" if config is None else f"--config {shlex.quote(str(config))} ")


def _order(
    targets: Sequence[str], lasts: str, scope: Scope | None, action: Action, ports: str, reason: str, force: bool
) -> Order:
    """Return the order that was typed.

    Raises:
        UsageError: A word cannot be read, or the words contradict each other.
    """
    from synguard.agent.manual import Order

    numbers = words.ports(ports, MOST_PORTS)
    if numbers and scope is Scope.ALL:
        raise UsageError("--ports closes ports to new connections: leave out --scope all, or leave out --ports")
    if len(reason) > 200:
        raise UsageError("--reason is too long: 200 characters at most")
    return Order(
        targets=tuple(dict.fromkeys(words.network(word) for word in targets)),
        lasts_s=_lasts(lasts),
        scope=scope or (Scope.NEW if numbers else Scope.ALL),
        action=action,
        ports=numbers,
        reason=reason,
        force=force,
    )


def _lasts(word: str) -> float | None:
    from synguard.policy.models import LONGEST_BAN_S

    if word.strip() == "permanent":
        return None
    seconds = words.duration(word)
    if seconds > LONGEST_BAN_S:
        raise UsageError(f"--for {word} is longer than the kernel can count (24 days 20 hours): say --for permanent")
    if seconds < 1:
        raise UsageError(f"--for {word} is over before it began: the shortest ban is 1s")
    return seconds


def _rehearse(order: Order, config: Config, json: bool) -> None:
    from synguard.agent.manual import assess, look_around, refuse_unsafe
    from synguard.cli.here import opened_ledger, protected_here, utcnow
    from synguard.ledger import LEDGER_FILE

    protected = protected_here(config)
    standing: Sequence[Ban] = ()
    if (config.state_dir / LEDGER_FILE).exists():
        with opened_ledger(config) as ledger:
            standing = tuple(ledger.active_bans(utcnow()).values())
    around, trouble = look_around(protected, standing)
    impacts = assess(order, around)
    if not json:
        _show_impacts(impacts, order, _warnings(protected, trouble))
    refuse_unsafe(order, impacts)
    _tell((), impacts, _warnings(protected, trouble), json)


def _carry_out(order: Order, config: Config, json: bool, yes: bool, given: str) -> None:
    from synguard.agent.manual import assess, bans_for, look_around, refuse_unsafe
    from synguard.cli.here import reaching, utcnow

    with reaching(config) as reach:
        around, trouble = look_around(reach.protected, reach.ledger.active_bans(utcnow()).values())
        warnings = _warnings(reach.protected, trouble)
        impacts = assess(order, around)
        if not json:
            _show_impacts(impacts, order, warnings)
        refuse_unsafe(order, impacts)
        _confirm(impacts, yes or json)
        bans = bans_for(order, impacts, utcnow())
        reach.hand.ban(bans)
    _tell(bans, impacts, warnings, json, given)


def _warnings(protected: Protected, trouble: str) -> tuple[str, ...]:
    unknown = tuple(f"who must be protected is not fully known: {problem}" for problem in protected.problems)
    return (*unknown, trouble) if trouble else unknown


def _confirm(impacts: Sequence[Impact], yes: bool) -> None:
    """Ask a person at a terminal before a ban that overrules protection or cuts off several connected peers."""
    grave = [impact for impact in impacts if impact.refusals or impact.peers > 1]
    if grave and not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm("go on?", abort=True)


def _show_impacts(impacts: Sequence[Impact], order: Order, warnings: Sequence[str]) -> None:
    from synguard.agent.manual import impact_lines
    from synguard.report.tables import printable

    for warning in warnings:
        print(f"synguard: {printable(warning)}", file=sys.stderr)
    for impact in impacts:
        for line in impact_lines(impact, order):
            print(printable(line))


def _tell(bans: Sequence[Ban], impacts: Sequence[Impact], warnings: Sequence[str], json: bool, given: str = "") -> None:
    """Say what was done, until when, and how to undo it; no bans are a rehearsal."""
    from synguard.addresses import format_network
    from synguard.cli.here import utcnow
    from synguard.report.moments import both_zones
    from synguard.report.shapes import ban_shape
    from synguard.report.tables import print_json

    if json:
        print_json(
            {
                "dry_run": not bans,
                "bans": [ban_shape(one, utcnow()) for one in bans],
                "impact": [_impact_shape(impact) for impact in impacts],
                "warnings": list(warnings),
            }
        )
        return
    if not bans:
        print("dry run: nothing was banned")
    for one in bans:
        how = f"{one.scope}, {one.action}" + (f", ports {','.join(map(str, one.ports))}" if one.ports else "")
        until = "until it is lifted" if one.expires_at is None else f"until {both_zones(one.expires_at)}"
        print(f"banned {format_network(one.target)} ({how}) {until}, id {one.id}")
    if bans:
        print(f"undo: synguard {given}unban {' '.join(format_network(one.target) for one in bans)}")


def _impact_shape(impact: Impact) -> dict[str, Any]:
    from synguard.addresses import format_network

    return {
        "target": format_network(impact.target),
        "sockets": dict(impact.sockets),
        "peers": impact.peers,
        "protected": [{"network": format_network(party), "reason": why} for party, why in impact.protected.items()],
        "overlapping": [{"id": one.id, "target": format_network(one.target)} for one in impact.overlapping],
        "refusals": list(impact.refusals),
    }
