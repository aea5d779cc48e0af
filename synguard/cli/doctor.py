"""``synguard doctor``: whether this host can protect itself, and the fix where not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer

from synguard.cli.context import opened_ledger, protected_here, utcnow, working_plane
from synguard.cli.options import ConfigFile, Json, loaded, policies_in_effect
from synguard.doctor.challenge_checks import challenge_findings
from synguard.doctor.coverage import read_coverage
from synguard.doctor.coverage_table import coverage_shape, print_coverage
from synguard.doctor.drift_checks import REPAIRS_SINCE, drift_findings
from synguard.doctor.findings import Finding, Level, findings_shape, is_exposed, print_findings
from synguard.doctor.fleet_checks import fleet_findings
from synguard.doctor.host_checks import kernel_findings, listener_findings, read_listeners
from synguard.doctor.integration_checks import integration_findings
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, fullest, used
from synguard.errors import ConfigError, LedgerError, NotPermittedError, PlaneError, SynguardError
from synguard.ledger import LEDGER_FILE
from synguard.ledger.records import ActionRecord
from synguard.model import Ban, KernelBan, Mode
from synguard.output.tables import print_json
from synguard.plain import count
from synguard.policy.models import Config
from synguard.policy.warnings import policy_warnings
from synguard.readings import Listener, Protected
from synguard.status.agent_commands import called, commands_for, start_command
from synguard.status.freshness import agent_runs, is_stale, running_status
from synguard.status.model import PeerStatus, read_status


def doctor(config: ConfigFile = None, json: Json = False) -> None:
    """Check what synguard needs on this host; show what is wrong and how to fix it.

    Examples:
      synguard doctor
      synguard doctor --json | jq '.findings[] | select(.level != "ok")'

    Exit code 1 if a check failed, 0 if there are only warnings.
    """
    findings: list[Finding] = []
    try:
        settings = loaded(config)
    except ConfigError as error:
        findings += [_fault("config", problem) for problem in error.problems]
        settings = Config()
    listeners, sockets = read_listeners(time.monotonic())
    findings += kernel_findings(settings, listeners)
    findings += [sockets, *listener_findings(listeners), *challenge_findings(settings, listeners)]
    if not findings or findings[0].name != "config":
        findings += _policies(config, settings, listeners)
    findings += [*_allow_list(settings), *_ledger(settings), _agent(settings), *integration_findings(settings)]
    findings += fleet_findings(settings, _peers(settings))
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
    return Finding(name, Level.BAD, problem, "correct the file")


def _policies(config: Path | None, settings: Config, listeners: Sequence[Listener]) -> Iterator[Finding]:
    try:
        policies = policies_in_effect(config)
    except ConfigError as error:
        yield from (_fault("policies", problem) for problem in error.problems)
        return
    names = ", ".join(one.name for one in policies)
    yield Finding("config", Level.OK, f"mode {settings.mode}, policies {names}")
    listening = {one.port for one in listeners if is_exposed(one)}
    for note in policy_warnings(policies, settings, listening):
        yield Finding("policies", Level.WARN, note, "synguard policy show")


def _allow_list(config: Config) -> Iterator[Finding]:
    protected = protected_here(config)
    for problem in protected.problems:
        yield Finding("protected", Level.BAD, f"{problem}; automatic bans are suspended", "see that it can be read")
    yield from _own_login(protected)
    for gap in protected.gaps:
        yield Finding("protected", Level.WARN, gap, "synguard allow add ADDRESS; see synguard allow list")
    if not protected.problems:
        listed = len(config.allow.addresses)
        yield Finding(
            "protected",
            Level.OK,
            f"{len(protected.networks)} addresses and networks are never banned; {listed} of them are configured; "
            f"{len(config.allow.files)} allow-list files",
        )


def _own_login(protected: Protected) -> Iterator[Finding]:
    """Yield that the address which the caller is logged in from is not protected, if so."""
    from synguard.operator.login import login_here, operator_address
    from synguard.operator.preflight import unprotected

    operator = operator_address(login_here().ssh)
    if reason := unprotected(protected, operator):
        yield Finding("protected", Level.WARN, reason, f"synguard allow add {operator}")


def _ledger(config: Config) -> Iterator[Finding]:
    """Yield the ledger's health, and whether the kernel holds what it says."""
    path = config.state_dir / LEDGER_FILE
    try:
        if not path.exists():
            yield Finding("ledger", Level.OK, f"{path} is not there yet; the first ban creates it")
            yield from _held(config, {}, ())
            return
        with opened_ledger(config) as ledger:
            ledger.check()
            active_bans = ledger.active_bans(utcnow())
            recent = ledger.actions_since(utcnow() - REPAIRS_SINCE)
    except NotPermittedError as error:
        yield Finding("ledger", Level.WARN, str(error), f"sudo {called()} doctor")
        return
    except PermissionError:
        yield Finding("ledger", Level.WARN, f"{path} may not be read by this user", f"sudo {called()} doctor")
        return
    except (LedgerError, OSError) as error:
        yield Finding("ledger", Level.BAD, str(error), "do what the reason says")
        return
    size = path.stat().st_size / 1e6
    yield Finding("ledger", Level.OK, f"{path}, {size:.1f} MB, intact; {count(len(active_bans), 'active ban')}")
    yield from _held(config, active_bans, [one for one in recent if one.kind == "repair"])


def _held(config: Config, active_bans: dict[str, Ban], repairs: Sequence[ActionRecord]) -> Iterator[Finding]:
    try:
        plane = working_plane(config)
        actual = plane.read()
    except (PlaneError, NotPermittedError):  # reported by the plane's own finding
        return
    yield from _ceiling(plane, actual.bans.values(), commands_for(config.runtime_dir).restart)
    status = running_status(config.runtime_dir)
    enforces = status is not None and status.mode is Mode.ENFORCE
    yield from drift_findings(active_bans, actual, repairs, agent=enforces, now=utcnow())


def _ceiling(plane: Plane, bans: Iterable[KernelBan], restart: str) -> Iterator[Finding]:
    level = fullest(plane, used(plane, bans))
    if level is None:
        yield Finding(
            "ceiling", Level.OK, f"no bans are held; each place takes {plane.ceiling:,} ({plane.ceiling_key})"
        )
    elif level.warning:
        bad = Level.BAD if level.share >= 1 else Level.WARN
        yield Finding("ceiling", bad, level.warning, f"{ADVICE}; or raise {level.key}, then {restart}")
    else:
        yield Finding("ceiling", Level.OK, f"fullest: {level}")


def _peers(config: Config) -> tuple[PeerStatus, ...]:
    """Return the peers of a running agent; none where none runs, or its status cannot be read."""
    status = running_status(config.runtime_dir)
    return () if status is None or is_stale(status, utcnow()) else status.peers


def _agent(config: Config) -> Finding:
    running, restart = agent_runs(config.runtime_dir), commands_for(config.runtime_dir).restart
    if running is None:
        return Finding(
            "agent", Level.WARN, "whether it runs cannot be seen without permission", f"sudo {called()} doctor"
        )
    if not running:
        reason = "no agent runs: floods are not detected; synguard ban still works"
        return Finding("agent", Level.WARN, reason, start_command())
    try:
        status = read_status(config.runtime_dir)
    except SynguardError as error:
        return Finding("agent", Level.BAD, str(error), restart)
    if status is None or is_stale(status, utcnow()):
        return Finding("agent", Level.BAD, "it runs but reports nothing: it may be stuck", restart)
    if not status.healthy:
        reason = "; ".join(status.problems) or "it reports that it is not healthy"
        return Finding("agent", Level.BAD, reason, "synguard status")
    return Finding("agent", Level.OK, f"runs, mode {status.mode}, healthy")
