"""``synguard panic``: stop enforcing and take everything back, at once and until a person ends it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Annotated, Final, TypeVar

import typer

from synguard.cli.context import opened_ledger, utcnow
from synguard.cli.options import ConfigFile, Json, Yes, config_or_defaults
from synguard.cli.prompt import confirmed
from synguard.enforcer import flush
from synguard.enforcer.locks import APPLY_LOCK, exclusive
from synguard.errors import PlaneError, SynguardError
from synguard.fleet.orders import Blackholes
from synguard.ledger import LEDGER_FILE
from synguard.model import Mode
from synguard.operator.enablement import EnablementFile
from synguard.operator.flush import put_back_all
from synguard.operator.login import login_here
from synguard.operator.panic import OVER, Panic, PanicFile
from synguard.output.tables import print_json
from synguard.plain import count
from synguard.policy.models import Config
from synguard.private import private_directory
from synguard.status.agent_commands import agent_pid, start_command
from synguard.status.freshness import agent_runs, running_status

PATIENCE_S: Final = 4.0
"""How long a running agent may do nothing before it is killed; it looks every second."""
LONGEST_S: Final = 20.0
"""How long one that still works may take to follow: amid challenges it has much to take back."""
LOCK_S: Final = 5.0
"""How long another process may go on with a change that it has begun."""
DEATH_S: Final = 5.0
"""How long a killed process may take to be gone."""


def panic(
    over: Annotated[bool, typer.Option("--over", help="End the panic: go back to the mode of the config.")] = False,
    yes: Yes = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Stop enforcing, remove every ban and all rules, until "synguard panic --over".

    Examples:
      synguard panic
      synguard panic --yes        in scripts
      synguard panic --over       back to what the config says

    A running agent goes on in dry-run, and so does every agent that is started
    later, whatever config, options and "synguard enable" say, until
    "synguard panic --over". An agent that does not react is killed. Blackholes
    upstream end too. Sysctls that synguard changed get their old values back.
    """
    settings = config_or_defaults(config)
    order = PanicFile(settings.state_dir)
    if over:
        _over(settings, order.remove(), json)
        return
    confirmed("stop enforcing and remove every ban?", yes=yes, doing="panic")
    failed: list[str] = []
    _try(failed, lambda: _write(settings))
    ordered = not failed
    if not ordered:
        failed.append("an agent that is started enforces again: mend that first, then order the panic again")
    agent = _agent_follows(settings, ordered=ordered)
    removed = _try(failed, lambda: _end_bans(settings)) or 0
    _try(failed, lambda: _release(settings))
    _try(failed, lambda: _flush(settings))  # first: while SYNs are challenged, clients need what is put back
    _try(failed, lambda: _put_back(settings))
    if json:
        print_json({"stopped": not failed, "agent": agent, "lifted": removed, "problems": failed})
    else:
        said = "untold" if agent == "killed" and not ordered else agent
        print(f"nothing is enforced now, and nothing of synguard is in the kernel; {_SAID[said]}")
        print(f"bans removed: {removed:,}, and not put back; to enforce again: {OVER}")
    if failed:
        raise SynguardError("\n".join(failed))


_Result = TypeVar("_Result")

_SAID: Final = {
    "none": "no agent runs",
    "follows": "the agent runs in dry-run now",
    "killed": "the agent did not react and was killed",
    "untold": "the agent cannot be told, and was killed",
}


def _try(failed: list[str], step: Callable[[], _Result]) -> _Result | None:
    """Take a step and return what it gives; whatever it meets is noted, and the next one is taken too."""
    try:
        return step()
    except SynguardError as error:
        failed.append(str(error))
        return None


def _write(settings: Config) -> None:
    private_directory(settings.state_dir, "state_dir")
    PanicFile(settings.state_dir).write(Panic(since=utcnow(), by=login_here()))
    EnablementFile(settings.state_dir).remove()


def _agent_follows(settings: Config, *, ordered: bool) -> str:
    """Return what became of the agent: ``none``, ``follows``, or ``killed`` where it did not follow in time.

    Where the order could not be written there is nothing to follow, and nothing to wait for.
    """
    if not agent_runs(settings.runtime_dir):
        return "none"
    began = moved = time.monotonic()
    last = None
    while ordered and (now := time.monotonic()) - moved < PATIENCE_S and now - began < LONGEST_S:
        status = running_status(settings.runtime_dir)  # what cannot be read says nothing of panic
        if status is not None and status.mode_by == "panic" and status.pid == agent_pid(settings.runtime_dir):
            return "follows"
        if status is not None and status.last_reading_at != last:
            last, moved = status.last_reading_at, now
        if not agent_runs(settings.runtime_dir):
            return "none"
        time.sleep(0.1)
    pid = agent_pid(settings.runtime_dir)
    if pid is None:
        return "none"
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return "none"
    except PermissionError:
        print(f"synguard: the agent (pid {pid}) does not follow and may not be killed by this user", file=sys.stderr)
        return "follows"
    gone_by = time.monotonic() + DEATH_S
    while agent_pid(settings.runtime_dir) == pid and time.monotonic() < gone_by:
        time.sleep(0.05)
    return "killed"


def _end_bans(settings: Config) -> int:
    """End every ban in the ledger, and return how many stood."""
    if not (settings.state_dir / LEDGER_FILE).exists():
        return 0
    with opened_ledger(settings) as ledger:
        now = utcnow()
        active, dry_run = ledger.active_bans(now), ledger.active_bans(now, dry_run=True)
        ledger.end_bans([*active, *dry_run], now, "panic")
        ledger.record_action(now, "panic", f"enforcement was stopped by hand, {count(len(active), 'ban')} removed")
    return len(active)


def _release(settings: Config) -> None:
    """End the blackholes that were ordered upstream."""
    blackholes = Blackholes(settings.state_dir)
    now = utcnow()
    for target in blackholes.active(now):
        blackholes.release(target, now)


def _put_back(settings: Config) -> None:
    put_back_all(settings, {})


def _flush(settings: Config) -> None:
    """Empty the kernel while no other process fills it; those that come later see the panic first."""
    with ExitStack() as stack:
        with suppress(PlaneError):  # whoever holds the lock for so long hangs, and is not waited for
            lock = exclusive(settings.runtime_dir / APPLY_LOCK, LOCK_S, "another synguard process")
            stack.enter_context(lock)
        flush.flush_kernel()


def _over(settings: Config, stood: bool, json: bool) -> None:
    running = bool(agent_runs(settings.runtime_dir))
    mode, by = _followed(settings) if running else (None, "")
    if json:
        print_json({"stood": stood, "mode": mode or settings.mode, "agent_running": running})
        return
    first = "the panic is over" if stood else "there was no panic"
    if mode is not None:
        print(f"{first}: the agent runs in mode {mode}, by {_BY.get(by, by)}")
        return
    when = "the agent has not followed yet: see synguard status" if running else "no agent runs"
    how = "" if running else f"; start it: {start_command()}"
    print(f"{first}: the config says {settings.mode}; {when}{how}")


_BY: Final = {"config": "the config", "option": "an option of synguard run", "order": "synguard enable"}


def _followed(settings: Config) -> tuple[Mode | None, str]:
    """Return the mode of an agent that panic no longer stops, and what gives it; None where it does not follow."""
    gives_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < gives_up_at:
        status = running_status(settings.runtime_dir)
        if status is not None and status.mode_by != "panic":
            return status.mode, status.mode_by
        time.sleep(0.1)
    return None, ""
