"""``synguard run``: the agent in the foreground."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synguard import __version__
from synguard.cli import parameter_types
from synguard.cli.options import ConfigFile, loaded, policies_of
from synguard.errors import UsageError
from synguard.logs import event
from synguard.model import Mode

if TYPE_CHECKING:
    from synguard.policy.models import Config, Policy


def run(
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be banned; change nothing.")] = False,
    enforce: Annotated[bool, typer.Option("--enforce", help="Ban.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Stop after TIME.")] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Record what sensors read, for policy replay.")
    ] = None,
    record_limit: Annotated[
        str, typer.Option("--record-limit", metavar="SIZE", help="Stop recording at this size.")
    ] = "256MiB",
    force: Annotated[bool, typer.Option("--force", help="Replace the recording if it is there already.")] = False,
    log_format: Annotated[
        str | None,
        typer.Option("--log-format", metavar="FORM", help="Log format: text, or json with one object a line."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the agent in the foreground; Ctrl-C ends it.

    Examples:
      synguard run                 dry-run: log and report what would be banned
      synguard run --for 10m       the same for ten minutes; then: synguard report
      synguard run --enforce       protect
      synguard run --record day.rec --for 1d    for: synguard policy suggest day.rec

    Without --dry-run and --enforce, the last "synguard enable" decides, else the
    mode of the config, else it is dry-run. SIGHUP makes the agent read config and
    policies again. Bans outlive the agent and expire by themselves.
    """
    if dry_run and enforce:
        raise UsageError("--dry-run and --enforce exclude each other: give one of them")
    for_s = None if for_ is None else parameter_types.duration(for_)
    limit = parameter_types.size(record_limit)
    mode = Mode.DRY_RUN if dry_run else Mode.ENFORCE if enforce else None

    settings, policies = _loaded(config, mode)
    form = _log_form(log_format) or settings.log.format
    import faulthandler

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else numpy starts threads, which keep every capability
    from synguard import capabilities
    from synguard.agent.bootstrap import agent_for, run_until_signalled
    from synguard.agent.config_drift import ConfigDrift
    from synguard.clock import SystemClock
    from synguard.logs import logging_to_stderr
    from synguard.policy.load import default_path
    from synguard.status.conditions import Code

    faulthandler.enable(file=2)  # a watchdog ends a hung agent by SIGABRT: the log then shows where it hung
    drift = ConfigDrift(config or default_path(), settings)

    def load() -> tuple[Config, tuple[Policy, ...]]:
        again = _loaded(config, mode)
        drift.taken(again[0])
        return again

    from synguard.status.agent_commands import commands_for

    clock = SystemClock()
    kept = capabilities.needed(
        enforces=not dry_run,
        enters_containers=settings.containers.watch != "off",
        challenges=settings.challenge.enabled != "off",
    )
    until_recording = {"CAP_DAC_OVERRIDE"} if record is not None else set()  # the file may lie where root owns nothing
    with ExitStack() as held:
        held.enter_context(logging_to_stderr(form, verbose=verbose))
        building = agent_for(settings, policies, clock, insists=mode is not None, keep=kept | until_recording)
        agent = held.enter_context(building)
        agent.conditions.ask(Code.CONFIG_DRIFT, drift.notes, fix=commands_for(settings.runtime_dir).reload)
        if record is not None:
            from synguard.recording.recorder import Recorder

            recorder = Recorder(record, limit, agent.mode, force=force)
            capabilities.give_up_all_but(kept)
            agent.sensing.record = held.enter_context(recorder).record
        _greet(agent.mode, policies, form)
        run_until_signalled(agent, clock, load, for_s)


def _loaded(config: Path | None, mode: Mode | None) -> tuple[Config, tuple[Policy, ...]]:
    settings = loaded(config)
    if mode is not None:
        settings = settings.model_copy(update={"mode": mode})
    return settings, policies_of(settings, config)


def _log_form(word: str | None) -> Literal["text", "json"] | None:
    if word not in (None, "text", "json"):
        raise UsageError(f'--log-format: "{str(word)[:40]}" is neither text nor json')
    return "json" if word == "json" else "text" if word else None


def _greet(mode: Mode, policies: tuple[Policy, ...], form: str) -> None:
    names = ", ".join(policy.name for policy in policies)
    what = "enforcing" if mode is Mode.ENFORCE else "dry-run: nothing is changed"
    text = f"synguard watches this host ({what}; policies: {names}). Ctrl-C ends it."
    if form == "json":
        extra = event("start", mode=mode.value, policies=names, version=__version__)
        logging.getLogger(__name__).info("%s", text, extra=extra)
        return
    typer.echo(text, err=True)
    if mode is Mode.DRY_RUN:
        typer.echo('What it would ban: "synguard report". To ban: "synguard run --enforce".', err=True)
