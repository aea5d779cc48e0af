"""``synguard enable``: from dry-run to enforcing, permanently or on trial."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

import typer

from synguard.addresses import format_network
from synguard.cli import parameter_types
from synguard.cli.context import opened_ledger, protected_here, utcnow, working_plane
from synguard.cli.options import ConfigFile, Json, Yes, loaded
from synguard.cli.prompt import confirmed
from synguard.cli.report import account_of, connected_peers
from synguard.clock import boot_id
from synguard.enforcer.plane import Plane
from synguard.errors import (
    NotPermittedError,
    PlaneError,
    PlaneUnavailableError,
    RefusedError,
    SynguardError,
    UsageError,
)
from synguard.jsonable import fields_of
from synguard.model import Mode
from synguard.operator.enablement import Enablement, EnablementFile, Login
from synguard.operator.login import operator_address, ssh_connection_of, why_not_new
from synguard.operator.panic import refuse_in_panic
from synguard.operator.preflight import ON_TRIAL_AT_LEAST_S, ON_TRIAL_AT_MOST_S, failed_checks
from synguard.output.tables import print_json, print_lines
from synguard.output.times import both_zones
from synguard.plain import listed, some
from synguard.policy.models import Config
from synguard.report.account import PossibleFalsePositive, possible_false_positives_in
from synguard.sensors.logged_in import read_ssh_peers
from synguard.sensors.protected import LOGINS, Places
from synguard.status.agent_commands import commands_for, start_command
from synguard.status.conditions import Code, text_of
from synguard.status.freshness import agent_runs, is_stale, running_status
from synguard.status.model import Status, read_status
from synguard.status.protected_file import read_protected_file
from synguard.units import format_duration

PATIENCE_S: Final = 15.0
"""How long the agent may take to follow: it looks every second."""
_SHOWN: Final = 10


def enable(
    confirm_within: Annotated[
        str | None,
        typer.Option(
            "--confirm-within",
            metavar="TIME",
            help="Enforce on trial: go back to dry-run unless confirmed within TIME.",
        ),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Confirm the trial, from a new SSH connection.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Go back to dry-run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Ignore failed preflight checks.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Have a running agent enforce, permanently or on trial, whatever its config says.

    Examples:
      synguard enable --confirm-within 5m     on trial; then from a new connection:
      synguard enable --confirm               keep enforcing
      synguard enable --off                   back to dry-run

    A trial that is not confirmed ends by itself, and its bans are removed; if the
    agent dies, the kernel ends those bans at the same time. Refused (exit code 3),
    unless --force: where no plane works, where it is not known which addresses to
    protect, or where your own address is not protected. The config file is not
    changed; this order outranks it, and an option of "synguard run" outranks both.
    """
    if sum((confirm_within is not None, confirm, off)) > 1:
        raise UsageError("--confirm-within, --confirm and --off exclude each other: give one of them")
    from synguard.operator.login import login_here

    within_s = None if confirm_within is None else _trial(confirm_within)
    settings = loaded(config)
    if not off:
        refuse_in_panic(settings.state_dir)
    orders = EnablementFile(settings.state_dir)
    if off:
        shown = _off(settings, orders)
    elif confirm:
        shown = _confirm(settings, orders, login_here(), force)
    else:
        shown = _enable(settings, orders, login_here(), within_s, force, yes, json)
    _tell(shown, json)


def _trial(word: str) -> float:
    seconds = parameter_types.duration(word)
    if not ON_TRIAL_AT_LEAST_S <= seconds <= ON_TRIAL_AT_MOST_S:
        raise UsageError(f"--confirm-within {word}: a trial lasts between 5s and 24h")
    return seconds


def _enable(
    config: Config, orders: EnablementFile, login: Login, within_s: float | None, force: bool, yes: bool, json: bool
) -> dict[str, Any]:
    if config.mode is Mode.ENFORCE:
        return _shape(None, "the config already says enforce: nothing was changed")
    pid = _listening_agent(config)
    order = orders.read()
    if order is not None and order.stands(boot_id(), time.monotonic()):
        first = "confirm it with synguard enable --confirm, or end it" if order.on_trial else "end it"
        raise RefusedError(f"enforcement is enabled already: {first} with synguard enable --off")
    reasons = _reasons(config, login, pid)
    would, hurt = _dry_run_report(config)
    if not json:
        _show_dry_run_report(would, hurt)
    if reasons and not force:
        raise RefusedError("\n".join((*reasons, "nothing was changed; --force insists")))
    for reason in reasons:
        print(f"synguard: {reason}", file=sys.stderr)
    confirmed("enforce now?", yes=yes, doing="enforcing")
    now = utcnow()
    order = Enablement(
        boot=boot_id(),
        since=now,
        since_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        by=login,
        until=None if within_s is None else now + timedelta(seconds=within_s),
        until_s=None if within_s is None else time.monotonic() + within_s,
    )
    orders.write(order)
    _await(config, Mode.ENFORCE)
    extra = {
        "reasons": reasons,
        "would_have_banned": len(would),
        "could_be_hurt": [fields_of(one, "target reason") for one in hurt],
    }
    return _shape(order, _enabled_text(order, within_s)) | extra


def _enabled_text(order: Enablement, within_s: float | None) -> str:
    if within_s is None:
        return "the agent enforces now, until: synguard enable --off"
    connection = "open a new SSH connection, and say there" if order.by.ssh else "say"
    return (
        f"the agent enforces now, on trial for {format_duration(within_s)}; to keep it, {connection}: "
        "synguard enable --confirm"
    )


def _confirm(config: Config, orders: EnablementFile, login: Login, force: bool) -> dict[str, Any]:
    order = orders.read()
    if order is None:
        raise SynguardError("no trial is under way: synguard enable --confirm-within 5m begins one")
    if order.confirmed_at is not None or not order.on_trial:
        return _shape(order, "enforcement is enabled permanently already")
    if not order.stands(boot_id(), time.monotonic()):
        ended = f" at {both_zones(order.until)}" if order.until else ""
        raise RefusedError(
            f"too late: the trial ended{ended} and the agent is in dry-run again; "
            "synguard enable --confirm-within begins another"
        )
    doubt = why_not_new(order, login)
    if doubt and not force:
        raise RefusedError(
            f"{doubt}: that new connections get in is not shown; log in anew and confirm there (a terminal multiplexer "
            "belongs to the connection it was started from), or insist with --force"
        )
    order = order.model_copy(update={"confirmed_at": utcnow()})
    orders.write(order)
    _note(config, "enforcement was confirmed" + (f" from {login.ssh.split()[0]}" if login.ssh else ""))
    return _shape(order, "confirmed: the agent keeps enforcing; to stop: synguard enable --off")


def _off(config: Config, orders: EnablementFile) -> dict[str, Any]:
    there = orders.stamp() is not None
    orders.remove()
    if (status := running_status(config.runtime_dir)) is not None and status.mode is Mode.ENFORCE:
        _refuse_if_bound(status, "at once: synguard panic")
    if config.mode is Mode.ENFORCE:
        raise RefusedError(
            f'the config says enforce: set mode = "dry-run" there, then {commands_for(config.runtime_dir).restart}; '
            "at once: synguard panic"
        )
    if not there:
        return _shape(None, "nothing was enabled: the config's mode, dry-run, holds")
    if not agent_runs(config.runtime_dir):
        return _shape(None, "off: the next start is in dry-run; automatic bans end by themselves, see synguard bans")
    _await(config, Mode.DRY_RUN)
    return _shape(None, "off: the agent is in dry-run again, and automatic bans made meanwhile were removed")


def _running(config: Config) -> Status | None:
    """Return what the running agent says of itself.

    Raises:
        SynguardError: None runs, or it says nothing.
    """
    running = agent_runs(config.runtime_dir)
    if running is None:
        raise NotPermittedError(f"{config.runtime_dir} may not be read by this user: run as root")
    if not running:
        raise SynguardError(f"no agent runs, so it cannot enforce: start one: {start_command()}")
    return read_status(config.runtime_dir)


def _listening_agent(config: Config) -> int:
    """Return the pid of the running agent.

    Raises:
        SynguardError: None runs, or it tells nothing of itself.
        RefusedError: An option binds it.
    """
    status = _running(config)
    if status is None or is_stale(status, utcnow()):
        raise SynguardError("the agent reports nothing: it may be stuck: see synguard status; nothing was changed")
    _refuse_if_bound(status, "nothing was changed")
    return status.pid


def _refuse_if_bound(status: Status, end: str) -> None:
    if status.mode_by == "option":
        raise RefusedError(f"an option says {status.mode}, which outranks synguard enable: restart without it; {end}")


def _reasons(config: Config, login: Login, pid: int) -> list[str]:
    from synguard.sensors.protected import read_protected

    plane: Plane | PlaneError
    try:
        plane = working_plane(config)
    except PlaneError as error:
        plane = error
    as_the_agent = partial(read_ssh_peers, {"SSH_CONNECTION": ssh_connection_of(pid)})
    now = read_protected(config.allow, Places(ssh_peers=as_the_agent))
    there = read_protected_file(config.state_dir)
    protected = replace(there, networks={**there.networks, **now.parts.get(LOGINS, {})}) if there else now
    return list(failed_checks(plane, protected, operator_address(login.ssh)))


def _dry_run_report(config: Config) -> tuple[list[str], tuple[PossibleFalsePositive, ...]]:
    """Return what dry-run would have banned in the last day, latest first, and the possible false positives."""
    now = utcnow()
    bans = account_of(config, now - timedelta(days=1), now, now).dry_run_bans
    hurt = possible_false_positives_in(bans, connected_peers(bans, now), protected_here(config), now, ended_too=True)
    return list(dict.fromkeys(format_network(record.ban.target) for record in bans)), hurt


def _show_dry_run_report(would: list[str], hurt: tuple[PossibleFalsePositive, ...]) -> None:
    if not would:
        print("in the last 24 hours no target would have been banned")
        return
    print(f"in the last 24 hours {listed(would, _SHOWN)} would have been banned")
    lines = (f"possible false positive: {one.target}: {one.reason}" for one in hurt)
    print_lines(f"  {line}" for line in some(lines, _SHOWN, "more; see synguard report"))


def _await(config: Config, mode: Mode) -> None:
    """Return once the agent is in this mode.

    Raises:
        SynguardError: It says why it cannot, or does not follow in time.
    """
    gives_up_at = time.monotonic() + PATIENCE_S
    while True:
        status = read_status(config.runtime_dir)
        if status is not None and status.mode is mode:
            return
        if status is not None and (trouble := text_of(status.conditions, Code.MODE_CHANGE_FAILED)):
            raise PlaneUnavailableError("enforcing", trouble)
        if time.monotonic() >= gives_up_at:
            raise SynguardError("the agent has not followed yet; the order stays in force: see synguard status")
        time.sleep(0.2)


def _note(config: Config, text: str) -> None:
    with opened_ledger(config) as ledger:
        ledger.record_action(utcnow(), "enable", text)


def _shape(order: Enablement | None, text: str) -> dict[str, Any]:
    on_trial = order is not None and order.on_trial
    return {
        "enabled": order is not None,
        "on_trial": on_trial,
        "confirm_by": order.model_dump(mode="json")["until"] if order and on_trial else None,
        "text": text,
    }


def _tell(shown: dict[str, Any], json: bool) -> None:
    print_json(shown) if json else print(shown["text"])
