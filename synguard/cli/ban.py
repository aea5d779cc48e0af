"""``synguard ban``: ban by hand, after showing what it would hit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from synguard.addresses import format_network
from synguard.cli import parameter_types
from synguard.cli.ban_preview import SHAPED, BanResult, preview, shape, shown
from synguard.cli.context import open_context, opened_ledger, protected_here, utcnow
from synguard.cli.options import ConfigFile, Json, Lists, SkipFaulty, Yes, loaded
from synguard.cli.progress import LONG, Step, steps
from synguard.enforcer.verb_plane import runs_program
from synguard.errors import RefusedError, UsageError
from synguard.ledger import LEDGER_FILE
from synguard.memory import many_objects
from synguard.model import Action, Ban, Scope
from synguard.operator.apply import VerbContext
from synguard.operator.ban import (
    MOST_PORTS,
    BanRequest,
    Impact,
    bans_for,
    eventful,
    of_each,
    read_host_context,
    refuse_unsafe,
    unsafe,
)
from synguard.operator.ban_list import ListOrder, bans_by_id, list_for, renewals_for, split, whole, with_same
from synguard.operator.lists import STANDARD_INPUT, STDIN_NAME, NamedPlaces, lists_of, read_lists, tell_of_lists
from synguard.operator.panic import refuse_in_panic
from synguard.output.tables import print_json, print_lines, printable
from synguard.policy.models import LONGEST_BAN_S, Config
from synguard.readings import Protected
from synguard.status.agent_commands import commands_for


def ban(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET", help="Addresses or prefixes, IPv4 or IPv6; - reads a list from standard input."
        ),
    ] = None,
    file: Lists = None,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Length of the ban: 30s, 10m, 1h30m, 7d, or permanent.")
    ] = "1h",
    scope: Annotated[
        Scope | None,
        typer.Option("--scope", help="new: new connections only; all: every packet. Default all, with --ports new."),
    ] = None,
    action: Annotated[
        Action,
        typer.Option(
            "--action",
            help="drop in silence; reject with a TCP reset; challenge: answer SYNs with cookies; limit: only a few.",
        ),
    ] = Action.DROP,
    ports: Annotated[str, typer.Option("--ports", metavar="80,443", help="Only these local TCP ports.")] = "any",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, shown in lists and reports.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Ban protected targets and very wide prefixes too.")] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Leave out refused targets, and name them.")
    ] = False,
    skip_faulty: SkipFaulty = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be affected; change nothing.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Ban addresses or prefixes by hand. Each ban expires in the kernel by itself.

    Examples:
      synguard ban 203.0.113.7                          one hour, every packet
      synguard ban 203.0.113.0/24 2001:db8:7::/48 --for 2h
      synguard ban 203.0.113.7 --ports 80,443           no new connections to these
      synguard ban 203.0.113.0/24 --dry-run             what would it hit?
      synguard ban 203.0.113.7 --for permanent --reason "scraper, ticket 4711"
      synguard ban --file drop.txt --for 7d             every line of a list
      cut -d, -f1 bad.csv | synguard ban - --dry-run    the same from standard input

    Shows the connections of the target first. Refuses (exit code 3) protected
    targets (gateways, resolvers, the allow-list, people logged in over SSH) and
    prefixes wider than /8 or, for IPv6, /32, unless --force; this host's own
    addresses always. Of several targets all are banned, or none. A comment in
    a list is the reason of that line's ban. To ban the same list again is safe.
    """
    paths = lists_of(targets or (), file or ())
    if not targets and not paths:
        raise UsageError("name what to ban: a TARGET, --file LIST, or - for standard input")
    named = [word for word in targets or () if word != "-"]
    order = _order(named, lasts, scope, action, ports, reason, force)
    settings = loaded(config)
    if not dry_run:
        refuse_in_panic(settings.state_dir)
    with many_objects(), steps(6, LONG if paths else len(named)) as step:
        order, folded = _with_lists(order, paths, step, skip_faulty)
        prepared = _Prepared(order, folded, skip_refused, step)
        if dry_run:
            _show_dry_run(prepared, settings, json)
        else:
            given = "" if config is None else f"--config {shlex.quote(str(config))} "
            _carry_out(prepared, settings, json, yes, f"synguard {given}unban {_again(named, paths)}")
        del order, prepared  # before the search for reference cycles goes on


@dataclass(frozen=True, slots=True)
class _Prepared:
    order: BanRequest
    folded: int
    skip_refused: bool
    step: Step


def _with_lists(order: BanRequest, paths: Sequence[Path], step: Step, skip_faulty: bool) -> tuple[BanRequest, int]:
    """Return the order with what its lists name too, and how many lines named a target again."""
    if not paths:
        return order, 0
    step("reading the list")
    listing = read_lists(paths, skip_faulty=skip_faulty)
    tell_of_lists(listing)
    named = dict.fromkeys(order.targets)
    listed = {one: entry for one, entry in listing.entries.items() if one not in named} if named else listing.entries
    targets = (*named, *listed)
    return replace(
        order,
        targets=targets,
        reasons={target: entry.reason for target, entry in listed.items() if entry.reason},
        places=NamedPlaces(listed),
    ), listing.folded + len(listing.entries) - len(listed)


def _again(named: Sequence[str], paths: Sequence[Path]) -> str:
    """Return the words that name the same targets again."""
    files = [f"--file {shlex.quote(str(path))}" for path in paths if path != STANDARD_INPUT]
    targets = [shlex.quote(format_network(one)) for one in parameter_types.networks(named)]
    return " ".join([*targets, *files, *(["- < the same list"] if STANDARD_INPUT in paths else [])])


def _order(
    targets: Sequence[str], lasts: str, scope: Scope | None, action: Action, ports: str, reason: str, force: bool
) -> BanRequest:
    """Return the order that was typed.

    Raises:
        UsageError: A word cannot be read, or the words contradict each other.
    """
    numbers = parameter_types.ports(ports, MOST_PORTS)
    if action.challenges and scope is Scope.ALL:
        raise UsageError("challenges are about new connections: leave out --scope all")
    if numbers and scope is Scope.ALL:
        raise UsageError("--ports closes ports to new connections: leave out --scope all, or leave out --ports")
    if len(reason) > 200:
        raise UsageError("--reason is too long: 200 characters at most")
    return BanRequest(
        targets=tuple(parameter_types.networks(targets, "--reason", "--for")),
        lasts_s=_lasts(lasts),
        scope=scope or (Scope.NEW if numbers or action.challenges else Scope.ALL),
        action=action,
        ports=numbers,
        reason=reason,
        force=force,
    )


def _lasts(word: str) -> float | None:
    if word.strip() == "permanent":
        return None
    seconds = parameter_types.duration(word)
    if seconds > LONGEST_BAN_S:
        raise UsageError(f"--for {word} is longer than the kernel can count (24 days 20 hours): say --for permanent")
    if seconds < 1:
        raise UsageError(f"--for {word} is too short: the shortest ban is 1s")
    return seconds


def _show_dry_run(prepared: _Prepared, config: Config, json: bool) -> None:
    prepared.step("reading connections of the targets")
    protected = protected_here(config)
    active_bans: Sequence[Ban] = ()
    if (config.state_dir / LEDGER_FILE).exists():
        with opened_ledger(config) as ledger:
            order, active_bans = with_same(prepared.order, ledger, utcnow())
            prepared = replace(prepared, order=order)
    order, impacts, left_out, warnings = _looked_at(prepared, protected, active_bans, json)
    _tell(BanResult((), 0, 0, left_out, prepared.folded), impacts, order, warnings, json)


def _carry_out(prepared: _Prepared, config: Config, json: bool, yes: bool, undo: str) -> None:
    prepared.step("reading connections of the targets")
    with open_context(config) as context:
        if prepared.order.action.challenges:
            _refuse_without_program(context, commands_for(config.runtime_dir).restart)
        order, active_bans = with_same(prepared.order, context.ledger, utcnow())
        prepared = replace(prepared, order=order)
        order, impacts, left_out, warnings = _looked_at(prepared, context.protected, active_bans, json)
        _confirm(impacts, yes or json, order)
        came = _banned(context, order, impacts, active_bans, prepared.step)
    prepared.step("done")
    came = replace(came, left_out=left_out, folded=prepared.folded)
    _tell(came, impacts, order, warnings, json, undo)


def _banned(
    context: VerbContext, order: BanRequest, impacts: Sequence[Impact], active_bans: Collection[Ban], step: Step
) -> BanResult:
    """Carry out the order; a long list of new targets, and of the same as before, as columns, all else ban by ban."""
    now = utcnow()
    new, same, rest = split(order, impacts)
    if not new.targets and not same.targets:
        known = bans_by_id(active_bans, order.same.values())
        bans = bans_for(rest, of_each(rest.targets, impacts), now, known.values())
        bans = context.applier.ban(bans, step, known) if bans else ()
        return BanResult(bans, len(bans), sum(ban.id in known for ban in bans))
    others = bans_for(rest, of_each(rest.targets, impacts), now)
    listed = ListOrder(list_for(new, now), renewals_for(same, now), others)
    listed = context.applier.ban_list(listed, step)
    return BanResult((*others, *listed.first(SHAPED)), len(listed.ids), len(listed.renewed.bans))


def _refuse_without_program(context: VerbContext, restart: str) -> None:
    if not runs_program(context.plane):
        raise RefusedError(
            f'no challenge program runs here: set [challenge] enabled = "auto", then {restart}; nothing was banned'
        )


def _looked_at(
    prepared: _Prepared, protected: Protected, active_bans: Collection[Ban], json: bool
) -> tuple[BanRequest, tuple[Impact, ...], tuple[Impact, ...], tuple[str, ...]]:
    """Return the order that may be carried out, whom it hits, what it leaves out, and warnings; all of it is shown.

    Raises:
        RefusedError: A target is refused and not to be left out, or every one is.
    """
    order = prepared.order
    around, warnings = read_host_context(protected, active_bans, order.targets)
    impacts = tuple(whole(one, order) for one in eventful(order, around))
    left_out: tuple[Impact, ...] = ()
    if prepared.skip_refused:
        left_out = tuple(unsafe(order, impacts))
        refused = {one.target for one in left_out}
        impacts = tuple(one for one in impacts if one.target not in refused)
        if len(refused) == len(order.targets):
            refuse_unsafe(order, left_out)
        order = replace(order, targets=tuple(one for one in order.targets if one not in refused))
    if not json:
        _show(impacts, order, prepared.folded, warnings)
    refuse_unsafe(order, impacts)
    return order, impacts, left_out, warnings


def _show(impacts: Sequence[Impact], order: BanRequest, folded: int, warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"synguard: {printable(warning)}", file=sys.stderr)
    print_lines(preview(impacts, order, folded))


def _confirm(impacts: Sequence[Impact], yes: bool, order: BanRequest) -> None:
    """Ask a person at a terminal before a ban that overrules protection or cuts off several connected peers.

    Raises:
        RefusedError: A person should be asked, and standard input, which was the list, cannot answer.
    """
    grave = any(impact.refusals or impact.peers > 1 for impact in impacts)
    if not grave or yes or not sys.stdout.isatty():
        return
    if sys.stdin.isatty():
        typer.confirm("go on?", abort=True)
    elif any(place.startswith(STDIN_NAME) for place in order.places.values()):
        raise RefusedError(
            "this overrules protection or cuts off connected peers, and standard input, which is the list, cannot say "
            "whether to go on: add --yes if you mean it; nothing was banned"
        )


def _tell(
    came: BanResult, impacts: Sequence[Impact], order: BanRequest, warnings: Sequence[str], json: bool, undo: str = ""
) -> None:
    if json:
        print_json(shape(came, impacts, order, warnings))
    else:
        print_lines(shown(came, order, undo))
