"""``synguard allow``: who is never banned; added, taken out and listed without a reload."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from synguard.addresses import Network, format_network
from synguard.cli import parameter_types
from synguard.cli.context import open_context, opened_ledger, protected_here, utcnow
from synguard.cli.groups import group_of
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import SynguardError, UsageError
from synguard.ledger import LEDGER_FILE
from synguard.model import Ban, Mode
from synguard.operator.allow import AddedAllowList, addresses_of, bans_within, refuse_too_wide
from synguard.output.tables import Column, print_json, print_lines, print_table
from synguard.output.times import both_zones
from synguard.plain import some
from synguard.policy.models import Config
from synguard.private import private_directory
from synguard.sensors.added_allow import PART, AddedEntry
from synguard.status.freshness import agent_runs, is_stale, running_status
from synguard.status.protected_file import read_protected_file

_HELP = """\
Manage the allow-list: what is never banned nor challenged. Needs no reload.

Examples:
  synguard allow add 203.0.113.0/24 --comment office
  synguard allow add 2001:db8:7::/48 --for 8h
  synguard allow add vpn.example.net --resolve
  synguard allow remove 203.0.113.0/24
  synguard allow list
"""

PATIENCE_S: Final = 3.0
"""How long a running agent may take to follow: it looks at every tick."""
SHOWN: Final = 20
"""Bans that are named one by one; of more, their number."""

Targets = Annotated[list[str], typer.Argument(metavar="TARGET", help="Addresses or prefixes, IPv4 or IPv6.")]


def add(
    targets: Targets,
    comment: Annotated[
        str, typer.Option("--comment", metavar="TEXT", help="Whose address it is, shown in lists.")
    ] = "",
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Length of the entry: 30m, 8h, 7d, or permanent.")
    ] = "permanent",
    names: Annotated[
        bool, typer.Option("--resolve", help="Targets are host names; see synguard allow resolve.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Allow prefixes wider than /8, or /32 for IPv6, too.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Add addresses or prefixes to the allow-list; bans of them end now.

    Examples:
      synguard allow add 203.0.113.0/24 --comment office
      synguard allow add 203.0.113.7 2001:db8::7 --for 8h
      synguard allow add vpn.example.net --resolve

    A running agent follows within a second. The entries are kept in
    allow.added.txt beside the config. A ban of a wider prefix stays, and what is
    allowed passes it. Adding an entry again changes its comment and end.
    """
    of = {one: name for name in targets for one in addresses_of(name)} if names else {}
    networks = [*of] if names else _networks(targets)
    seconds = None if lasts.strip() == "permanent" else parameter_types.duration(lasts)
    _check_comment(comment)
    settings = loaded(config)
    if not force:
        refuse_too_wide(networks, settings.pref64)
    now = utcnow()
    until = None if seconds is None else (now + timedelta(seconds=seconds)).replace(microsecond=0)
    followed, removed = allow_entries(
        settings, [AddedEntry(one, comment, until, of.get(one, "")) for one in networks], now
    )
    what = "allowed" if until is None else f"allowed until {both_zones(until)}"
    _tell(networks, what, followed, {"lifted": [ban.id for ban in removed]} if json else None)
    if not json:
        kinds = {True: "dry-run ban", False: "ban"}
        lines = (f"removed the {kinds[one.dry_run]} of {format_network(one.target)}, id {one.id}" for one in removed)
        print_lines(some(lines, SHOWN))


def _networks(targets: Sequence[str]) -> list[Network]:
    try:
        return parameter_types.networks(targets, "--comment", "--for")
    except UsageError as error:
        hint = "" if "; " in str(error) else "; host names: --resolve"
        raise UsageError(f"{error}{hint}") from error


def allow_entries(settings: Config, entries: Sequence[AddedEntry], now: datetime) -> tuple[bool | None, list[Ban]]:
    """Add entries, wait for a running agent to take them in, and end the bans of what is allowed now.

    Returns whether the agent has followed, None where none runs, and the bans that were removed.
    """
    networks = [one.network for one in entries]
    added_list(settings).add(entries, now)
    return _followed(settings, networks, there=True), _end_bans(settings, networks)


def remove(targets: Targets, config: ConfigFile = None, json: Json = False) -> None:
    """Remove addresses or prefixes from the allow-list.

    Examples:
      synguard allow remove 203.0.113.0/24

    A host name removes all addresses that were added for it. Addresses that the
    config, its files or this host itself protect stay protected.
    """
    settings = loaded(config)
    added, now = added_list(settings), utcnow()
    active = added.active(now)
    of = {name: [one.network for one in active if one.name == name] for name in targets}
    networks = parameter_types.networks(name for name in targets if not of[name])
    networks += [one for name in targets for one in of[name]]
    added.remove(networks, now)
    followed = _followed(settings, networks, there=False)
    _tell(networks, "no longer allowed by synguard allow", followed, {} if json else None)


def resolve(config: ConfigFile = None, json: Json = False) -> None:
    """Look host names up again that were added with --resolve.

    Examples:
      synguard allow resolve

    synguard never does this by itself: run it from a timer, such as
    synguard-resolve.timer of the Debian package. A name that cannot be looked up
    keeps its addresses, and the exit code is 1. Use only names that you trust:
    the owner of a name decides who is never banned.
    """
    added, now = added_list(loaded(config)), utcnow()
    failed = added.follow_names(addresses_of, now)
    named = [one for one in added.active(now) if one.name]
    if json:
        print_json({"entries": [_shape(one) for one in named], "failed": failed})
    for one in [] if json else named:
        print(f"{one.name}: {format_network(one.network)}")
    if failed:
        raise SynguardError("\n".join(failed.values()))


def list_(config: ConfigFile = None, json: Json = False) -> None:
    """List who is never banned, and why: added entries, and automatic protection.

    Examples:
      synguard allow list
      synguard allow list --json
    """
    settings = loaded(config)
    entries = {one.network: one for one in added_list(settings).active(utcnow())}
    protected = protected_here(settings)
    if json:
        print_json({"entries": [_shape(one) for one in entries.values()], "protected": _others(protected.networks)})
        return
    shown = sorted(protected.networks.items(), key=lambda item: (item[0] not in entries, item[1]))
    rows = [(format_network(one), reason, _end(entries.get(one))) for one, reason in shown]
    waiting = [one for one in entries.values() if one.network not in protected.networks]
    rows[:0] = [(format_network(one.network), f"synguard allow: {one.comment}", _end(one)) for one in waiting]
    print_table([Column("NETWORK"), Column("WHY", fold=True), Column("UNTIL")], rows)


list_.__name__ = "list"


def added_list(settings: Config) -> AddedAllowList:
    """Return the entries that were added on this host.

    Raises:
        SynguardError: There is no place for them.
    """
    path = settings.allow.added
    if path is None:  # only a config that no file and no default stands for
        raise SynguardError("this config has no place for an allow-list of its own")
    if path.parent == settings.state_dir:
        private_directory(settings.state_dir, "state_dir")
    return AddedAllowList(path)


def _check_comment(comment: str) -> None:
    if len(comment) > 120:
        raise UsageError("--comment is too long: 120 characters at most")
    if not comment.isprintable() or "#" in comment:
        raise UsageError("--comment is one line of text without #")
    if comment.startswith(("until ", "name ")):
        raise UsageError("--comment may not begin with until or name: say --for TIME for an end, --resolve for a name")


def _followed(settings: Config, networks: Sequence[Network], *, there: bool) -> bool | None:
    """Return whether the running agent has taken it in, after waiting for it; None where none runs."""
    if not agent_runs(settings.runtime_dir):
        return None
    gives_up_at, pause_s = time.monotonic() + PATIENCE_S, 0.02
    while True:
        known = read_protected_file(settings.state_dir)
        part = known.parts.get(PART, {}) if known else {}
        if all((one in part) is there for one in networks):
            return True
        if time.monotonic() >= gives_up_at:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.5)  # the protected list may be long


def _end_bans(settings: Config, networks: Sequence[Network]) -> list[Ban]:
    """End the bans whose whole target is allowed now, and return them; dry-run bans too."""
    if not (settings.state_dir / LEDGER_FILE).exists():
        return []
    now = utcnow()
    with opened_ledger(settings) as ledger:
        active = ledger.active_bans(now)
        would_be = bans_within(networks, ledger.active_bans(now, dry_run=True).values())
        if would_be:
            ledger.end_bans([ban.id for ban in would_be], now, "allowed by hand")
    agent = running_status(settings.runtime_dir)
    enforced = agent is not None and agent.mode is Mode.ENFORCE and not is_stale(agent, now)
    if not active or (enforced and not bans_within(networks, active.values())):
        return would_be  # the agent lets them pass, and may have bans in the kernel that a full disk does not take
    with open_context(settings) as context:
        found = bans_within(networks, active.values())
        context.applier.unban(found, "allowed by hand")  # also where no ban is removed: wider bans let them pass now
    return [*found, *would_be]


def _tell(networks: Sequence[Network], what: str, followed: bool | None, json: dict[str, Any] | None) -> None:
    named = [format_network(one) for one in networks]
    if json is not None:
        print_json({"networks": named, "in_force": followed is not False, "agent_running": followed is not None} | json)
        return
    when = {
        True: "in force",
        None: "no agent runs; in force from its next start",
        False: "the agent has not followed yet: see synguard status",
    }[followed]
    print(f"{', '.join(named)}: {what}; {when}")


def _end(entry: AddedEntry | None) -> str:
    if entry is None:
        return "-"
    return both_zones(entry.until) if entry.until else "permanent"


def _shape(entry: AddedEntry) -> dict[str, Any]:
    until = entry.until.isoformat() if entry.until else None
    return {"network": format_network(entry.network), "comment": entry.comment, "until": until, "name": entry.name}


def _others(networks: Any) -> list[dict[str, str]]:
    return [{"network": format_network(one), "reason": reason} for one, reason in networks.items()]


allow = group_of(_HELP, add, remove, resolve, list_)
