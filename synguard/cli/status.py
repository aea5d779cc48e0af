"""``synguard status``: how the agent and this host are doing."""

from __future__ import annotations

from synguard.cli.context import ledger_for_reading, utcnow
from synguard.cli.options import ConfigFile, Json, config_or_defaults
from synguard.errors import LedgerError
from synguard.ledger import LEDGER_FILE
from synguard.ledger.listing import Choice
from synguard.output.tables import print_json, print_lines
from synguard.policy.models import Config
from synguard.status.freshness import agent_runs
from synguard.status.model import read_status
from synguard.status.overview import overview, overview_lines


def status(config: ConfigFile = None, json: Json = False) -> None:
    """Show health, mode, pressure on listeners, incidents, and what is banned.

    Examples:
      synguard status
      synguard status --json | jq .healthy

    Exit code 0 also where no agent runs; --json says so under "running".
    """
    settings = config_or_defaults(config)
    standing = _bans_in_ledger(settings)
    seen = overview(
        running=agent_runs(settings.runtime_dir),
        status=read_status(settings.runtime_dir),
        mode=settings.mode,
        policies=settings.policies,
        bans_active=standing,
        now=utcnow(),
    )
    if json:
        print_json(seen)
        return
    print_lines(overview_lines(seen, standing))


def _bans_in_ledger(config: Config) -> int | None:
    """Return how many bans stand, or None where the ledger cannot be read by this user."""
    try:
        if not (config.state_dir / LEDGER_FILE).exists():
            return 0
        with ledger_for_reading(config) as ledger:
            return ledger.count_bans(Choice(dry_run=False), utcnow())
    except (LedgerError, PermissionError):
        return None
