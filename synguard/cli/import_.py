"""``synguard import``: take over whom another tool allows and bans, and say what has no counterpart."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from synguard.addresses import Network, format_network
from synguard.cli import parameter_types
from synguard.cli.allow import allow_entries
from synguard.cli.context import open_context, protected_here, utcnow, working_plane
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.cli.prompt import confirmed
from synguard.errors import RefusedError, UsageError
from synguard.memory import many_objects
from synguard.model import Ban, Scope
from synguard.operator.allow import MOST, refuse_too_wide
from synguard.operator.ban import BanRequest, Impact, assess, bans_for, read_host_context, unsafe
from synguard.operator.importing.plan import ImportedBan, ImportPlan
from synguard.operator.importing.tools import READERS, read_tool
from synguard.operator.panic import refuse_in_panic
from synguard.output.tables import print_json, print_lines
from synguard.plain import listed, printable
from synguard.policy.models import LONGEST_BAN_S, Config
from synguard.readings import Protected
from synguard.sensors.added_allow import AddedEntry
from synguard.units import format_duration, format_ports

SHOWN: Final = 20
"""Of each kind, that many are named; the rest is a number."""


def import_(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help=f"One of {', '.join(READERS)}.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of that tool, or the directory that holds its files.")
    ],
    allow: Annotated[
        bool, typer.Option("--allow", help="Add the addresses to the allow-list instead of banning them.")
    ] = False,
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Length of bans that have no end in that tool.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be imported; change nothing.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Take over allow-lists, bans and limits of another tool.

    Examples:
      synguard import csf /etc/csf --dry-run
      synguard import csf /etc/csf/csf.deny --for 30d
      synguard import fail2ban /etc/fail2ban/jail.local
      synguard import fail2ban /var/lib/fail2ban/fail2ban.sqlite3
      synguard import ddos-deflate /etc/ddos
      synguard import ufw /etc/ufw
      synguard import ipset friends.save --allow

    Everything that is not taken over is listed with the reason. Limits are
    printed as a policy pack for you to read and keep; the config is not
    touched. Bans of protected targets are left out. For ipset and nft, FILE is
    what "ipset save" and "nft list ruleset" print.
    """
    if tool not in READERS:
        raise UsageError(f'"{printable(tool[:30])}" cannot be imported from: name one of {", ".join(READERS)}')
    for_s = None if lasts is None else parameter_types.duration(lasts)
    if for_s is not None and for_s > LONGEST_BAN_S:
        raise UsageError(f"--for {lasts} is longer than the kernel can count (24 days 20 hours): leave it out")
    settings = loaded(config)
    with many_objects():
        plan = read_tool(tool, file, utcnow().timestamp())
        if allow:
            for ban in plan.bans:
                plan.allow.setdefault(ban.target, ban.reason.replace("#", " ")[:120])
            plan.bans = []
        _leave_wide(plan, settings.pref64)
        if dry_run:
            orders = _orders(plan, for_s, protected_here(settings))
            _show(plan, orders, json, changed=False)
            return
        refuse_in_panic(settings.state_dir)
        if plan.allow or plan.bans:
            what = f"allow {len(plan.allow):,} and ban {len(plan.bans):,} of {tool}'s addresses and prefixes?"
            confirmed(what, yes=yes, doing="importing")
        _carry_out(plan, for_s, settings, json)


def _leave_wide(plan: ImportPlan, pref64: Iterable[IPv6Network]) -> None:
    """Leave out what is too wide to be allowed or banned, and what is more than the allow-list takes."""
    for network in list(plan.allow):
        try:
            refuse_too_wide([network], pref64)
        except RefusedError as error:
            plan.leave("allow-list", format_network(network), str(error).partition(": ")[2])
            del plan.allow[network]
    if len(plan.allow) > MOST:
        raise UsageError(
            f"{len(plan.allow):,} networks to allow, and synguard allow keeps {MOST:,} at most: name the file in "
            "[allow] files of the config; nothing was changed"
        )


@dataclass(frozen=True, slots=True)
class _Order:
    """Bans of one length and one set of ports, and what each would hit."""

    request: BanRequest
    impacts: Sequence[Impact]


def _orders(
    plan: ImportPlan, for_s: float | None, protected: Protected, standing: Collection[Ban] = ()
) -> list[_Order]:
    """Return an order for each length and set of ports; what would be unsafe is left out of them, and of the plan."""
    groups: Mapping[tuple[float | None, tuple[int, ...]], dict[Network, ImportedBan]] = defaultdict(dict)
    for ban in plan.bans:
        lasts = ban.lasts_s if ban.lasts_s is not None else for_s
        if lasts is not None and lasts > LONGEST_BAN_S:
            lasts = None
        groups[lasts, ban.ports].setdefault(ban.target, ban)
    around, unknown = read_host_context(protected, standing)
    for sentence in unknown:
        print(f"synguard: {printable(sentence)}", file=sys.stderr)
    orders = []
    for (lasts, ports), bans in groups.items():
        scope = Scope.NEW if ports else Scope.ALL
        reasons = {target: ban.reason for target, ban in bans.items() if ban.reason}
        targets = tuple(target for target in bans if target not in plan.allow)
        request = BanRequest(targets, lasts, scope, ports=ports, reason="imported", reasons=reasons)
        impacts = assess(request, around)
        refused = {one.target for one in unsafe(request, impacts)}
        for one in impacts:
            if one.target in refused:
                plan.leave("bans", format_network(one.target), ", ".join(one.refusals))
        impacts = tuple(one for one in impacts if one.target not in refused)
        if impacts:
            orders.append(_Order(replace(request, targets=tuple(one.target for one in impacts)), impacts))
    return orders


def _carry_out(plan: ImportPlan, for_s: float | None, settings: Config, json: bool) -> None:
    """Allow first, so that no ban covers whom the same files allow; nothing is begun that cannot be finished."""
    if plan.bans:
        working_plane(settings)  # who may not touch the kernel does not touch the allow-list either
    if plan.allow:
        entries = [AddedEntry(network, comment) for network, comment in plan.allow.items()]
        allow_entries(settings, entries, utcnow())
    orders: list[_Order] = []
    if plan.bans:
        with open_context(settings) as context:
            standing = context.ledger.active_bans(utcnow())
            orders = _orders(plan, for_s, context.protected, standing.values())
            now = utcnow()
            bans = [ban for one in orders for ban in bans_for(one.request, one.impacts, now, standing.values())]
            if bans:
                context.applier.ban(bans, renewed=standing.keys())
    _show(plan, orders, json, changed=True)


def _show(plan: ImportPlan, planned: Iterable[_Order], json: bool, *, changed: bool) -> None:
    orders = [one.request for one in planned]
    count = sum(len(order.targets) for order in orders)
    if json:
        print_json(_shape(plan, orders, changed))
        return
    print(f"{'allowed' if changed else 'would allow'}: {len(plan.allow):,}")
    for network, comment in list(plan.allow.items())[:SHOWN]:
        print(printable(f"  {format_network(network)}" + (f"  # {comment}" if comment else "")))
    _more(len(plan.allow))
    print(f"{'banned' if changed else 'would ban'}: {count:,}")
    for order in orders:
        until = "permanent" if order.lasts_s is None else f"for {format_duration(order.lasts_s)}"
        ports = f", ports {format_ports(order.ports)}" if order.ports else ""
        print(f"  {until}{ports}: {listed([*map(format_network, order.targets)], 3)}")
    if plan.limits:
        print("limits, as a policy pack; keep it as a file, and name that first in `policies` of the config:")
        print_lines(f"  {line}" for line in plan.pack())
    left_out = len(plan.left_out) + plan.beyond
    print(f"left out: {left_out:,}")
    print_lines(f"  {line}" for line in plan.left_out[:SHOWN])
    _more(left_out)


def _more(count: int) -> None:
    if count > SHOWN:
        print(f"  and {count - SHOWN:,} more; --json names them")


def _shape(plan: ImportPlan, orders: Iterable[BanRequest], changed: bool) -> dict[str, Any]:
    return {
        "changed": changed,
        "allow": [{"network": format_network(one), "comment": comment} for one, comment in plan.allow.items()],
        "bans": [
            {
                "target": format_network(target),
                "lasts_s": order.lasts_s,
                "ports": list(order.ports),
                "reason": order.reasons.get(target, order.reason),
            }
            for order in orders
            for target in order.targets
        ],
        "pack": "\n".join(plan.pack()),
        "left_out": [*plan.left_out, *([f"and {plan.beyond} more"] if plan.beyond else [])],
    }
