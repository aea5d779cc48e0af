"""``synguard doctor``: whether this host can protect itself, and the fix where not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import ConfigError, LedgerError, NotPermittedError, PlaneError, SynguardError

if TYPE_CHECKING:
    from synguard.policy.models import Config
    from synguard.readings import Listener
    from synguard.report.findings import Finding


def doctor(config: ConfigFile = None, json: Json = False) -> None:
    """Look at everything synguard needs here; say what is wrong and how to mend it.

    Examples:
      synguard doctor
      synguard doctor --json | jq '.findings[] | select(.level != "ok")'

    Exit code 1 where something is bad, 0 where there is nothing worse than a warning.
    """
    from synguard.agent.checkup import kernel_findings, listener_findings, read_listeners
    from synguard.agent.coverage import read_coverage
    from synguard.policy.models import Config
    from synguard.report.coverage import coverage_shape, print_coverage
    from synguard.report.findings import Level, findings_shape, print_findings
    from synguard.report.tables import print_json

    findings: list[Finding] = []
    try:
        settings = loaded(config)
    except ConfigError as error:
        findings += [_fault("config", problem) for problem in error.problems]
        settings = Config()
    listeners, sockets = read_listeners(time.monotonic())
    findings += kernel_findings(settings, listeners)
    findings += [sockets, *listener_findings(listeners)]
    if not findings or findings[0].name != "config":
        findings += _policies(config, settings, listeners)
    findings += [*_allow_list(settings), *_ledger(settings), _agent(settings)]
    coverage = read_coverage(settings, listeners, time.monotonic())
    findings += coverage.findings
    if json:
        print_json(findings_shape(findings, listeners) | {"coverage": coverage_shape(coverage.rows)})
    else:
        print_findings(findings, listeners)
        print_coverage(coverage.rows)
    if any(one.level is Level.BAD for one in findings):
        raise typer.Exit(SynguardError.exit_code)


def _fault(name: str, problem: str) -> Finding:
    from synguard.report.findings import Finding, Level

    return Finding(name, Level.BAD, problem, "correct the file")


def _policies(config: Path | None, settings: Config, listeners: Sequence[Listener]) -> Iterator[Finding]:
    from synguard.cli.policy import policies_in_effect
    from synguard.policy.notes import policy_notes
    from synguard.report.findings import Finding, Level, is_exposed

    try:
        policies = policies_in_effect(config)
    except ConfigError as error:
        yield from (_fault("policies", problem) for problem in error.problems)
        return
    names = ", ".join(one.name for one in policies)
    yield Finding("config", Level.OK, f"mode {settings.mode}, policies {names}")
    listening = {one.port for one in listeners if is_exposed(one)}
    for note in policy_notes(policies, settings, listening):
        yield Finding("policies", Level.WARN, note, "synguard policy show")


def _allow_list(config: Config) -> Iterator[Finding]:
    from synguard.cli.here import protected_here
    from synguard.report.findings import Finding, Level

    protected = protected_here(config)
    for problem in protected.problems:
        yield Finding("protected", Level.BAD, f"{problem}; automatic bans are suspended", "see that it can be read")
    if not protected.problems:
        listed = len(config.allow.addresses)
        yield Finding(
            "protected",
            Level.OK,
            f"{len(protected.networks)} parties are never banned, {listed} of them configured by address, "
            f"{len(config.allow.files)} allow-list files",
        )


def _ledger(config: Config) -> Iterator[Finding]:
    """Yield the ledger's health, and whether the kernel holds what it says."""
    from synguard.cli.here import opened_ledger, utcnow
    from synguard.ledger import LEDGER_FILE
    from synguard.report.findings import Finding, Level

    path = config.state_dir / LEDGER_FILE
    try:
        if not path.exists():
            yield Finding("ledger", Level.OK, f"{path} is not there yet; the first ban makes it")
            return
        with opened_ledger(config) as ledger:
            ledger.check()
            standing = ledger.active_bans(utcnow())
    except NotPermittedError as error:
        yield Finding("ledger", Level.WARN, str(error), "sudo synguard doctor")
        return
    except PermissionError:
        yield Finding("ledger", Level.WARN, f"{path} may not be read by this user", "sudo synguard doctor")
        return
    except (LedgerError, OSError) as error:
        yield Finding("ledger", Level.BAD, str(error), "see the sentence before")
        return
    size = path.stat().st_size / 1e6
    yield Finding("ledger", Level.OK, f"{path}, {size:.1f} MB, sound; {len(standing)} bans stand")
    yield from _held(config, {ban.target for ban in standing.values()})


def _held(config: Config, targets: set[object]) -> Iterator[Finding]:
    from synguard.cli.here import working_plane
    from synguard.report.findings import Finding, Level

    try:
        held = {one.target for one in working_plane(config).read().bans.values()}
    except (PlaneError, NotPermittedError):  # told by the plane's own finding
        return
    missing = len(targets - held)
    if missing:
        reason = f"{missing} of {len(targets)} bans that the ledger holds are not in the kernel: they stop nothing"
        yield Finding("bans", Level.BAD, reason, "start the agent, which puts them back: systemctl start synguard")
    elif targets:
        yield Finding("bans", Level.OK, f"the kernel holds all {len(targets)}")


def _agent(config: Config) -> Finding:
    from synguard.cli.here import utcnow
    from synguard.report.findings import Finding, Level
    from synguard.report.presence import agent_runs, is_stale
    from synguard.report.status import read_status

    running = agent_runs(config.runtime_dir)
    if running is None:
        return Finding("agent", Level.WARN, "whether it runs is not known without permission", "sudo synguard doctor")
    if not running:
        reason = "none runs: nobody watches for floods; bans by hand work all the same"
        return Finding("agent", Level.WARN, reason, "synguard run, or systemctl start synguard")
    try:
        status = read_status(config.runtime_dir)
    except SynguardError as error:
        return Finding("agent", Level.BAD, str(error), "systemctl restart synguard")
    if status is None or is_stale(status, utcnow()):
        return Finding("agent", Level.BAD, "it runs but tells nothing: it may be stuck", "systemctl restart synguard")
    if not status.healthy:
        reason = "; ".join(status.problems) or "it says that it is not healthy"
        return Finding("agent", Level.BAD, reason, "synguard status")
    return Finding("agent", Level.OK, f"runs, mode {status.mode}, healthy")
