"""``synguard flush``: everything of ours leaves the kernel, the ledger stays."""

from __future__ import annotations

from synguard.cli.context import utcnow
from synguard.cli.options import ConfigFile, Json, Yes, config_or_defaults
from synguard.cli.prompt import confirmed
from synguard.enforcer.flush import flush_kernel
from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS
from synguard.model import Mode
from synguard.operator.flush import put_back_all
from synguard.output.tables import print_json
from synguard.status.freshness import agent_runs, is_stale, running_status


def flush(yes: Yes = False, config: ConfigFile = None, json: Json = False) -> None:
    """Remove every rule, set and table of synguard from the kernel, and nothing else.

    Sysctls that synguard changed for an incident get their old values back; an
    agent that enforces needs them, and does that itself, at calm.

    Examples:
      synguard flush
      synguard flush --yes        in scripts

    Works without ledger and config. No ban is ended: a running agent, or the
    next ban by hand, puts the active bans back. To stop everything until you
    say otherwise, use synguard panic.
    """
    settings = config_or_defaults(config)
    confirmed("remove all rules of synguard from the kernel?", yes=yes, doing="flushing the kernel")
    put_back: dict[str, int] = {}
    running = bool(agent_runs(settings.runtime_dir))
    told = running_status(settings.runtime_dir)
    dry_run = told is not None and told.mode is Mode.DRY_RUN
    try:
        flush_kernel()  # first: while SYNs are challenged, clients need what is put back
    finally:  # whatever one of the two meets, the other is tried
        if told is None or dry_run or is_stale(told, utcnow()):  # another value would end the agent's challenges
            put_back_all(settings, put_back)
    if json:
        print_json(
            {
                "flushed": True,
                "agent_running": running,
                "syn_cookies_put_back_to": put_back.get(SYN_COOKIES),
                "tcp_timestamps_put_back_to": put_back.get(TCP_TIMESTAMPS),
            }
        )
        return
    print("nothing of synguard is in the kernel now; the ledger keeps its bans")
    for name, value in put_back.items():
        print(f"{name} is {value} again, as it was before the incident")
    if running and dry_run:
        print("the running agent is in dry-run; the next ban by hand puts them back. To prevent it: synguard panic")
    elif running:
        print("the running agent puts them back within seconds; to stop enforcing: synguard panic")
