"""What man pages and the reference page say beside what the parser knows: exit codes, files, environment, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from synguard.policy.load import CONFIG_VARIABLE, DEFAULT_CONFIG
from synguard.policy.models import Config

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done",
    1: "failed: one sentence on stderr says what and what to do; --debug shows where",
    2: "a word, option, config or policy that cannot be used; nothing was changed",
    3: "refused for safety; nothing was changed",
    4: "not permitted; it says which right is missing",
    5: "no plane works on this host",
    130: "Ctrl-C",
}

_DEFAULTS: Final = Config()

FILES: Final[Mapping[str, str]] = {
    str(DEFAULT_CONFIG): "the config; see synguard.toml(5)",
    f"{_DEFAULTS.state_dir}/ledger.db": "bans, verdicts, incidents and actions",
    f"{_DEFAULTS.state_dir}/enforcing.json": "what synguard enable ordered",
    f"{_DEFAULTS.runtime_dir}/status.json": "what the agent says of itself",
}

ENVIRONMENT: Final[Mapping[str, str]] = {
    CONFIG_VARIABLE: "the config file, where --config does not name one",
    "SYNGUARD_DEBUG": "1: show the traceback of an error, as --debug does",
}

JSON_KEYS: Final[Mapping[str, str]] = {
    "synguard status": "mode mode_by mode_story confirm_by plane show_command healthy conditions problems "
    "plane_problem notes pid started_at last_reading_at policies pressure flood verdict verdict_kind targets incidents "
    "countermeasures leaks ceilings bans_active peers "
    "bans_by challenges proven_peers totals sampling_one_in ledger_bytes sensors running stale agent",
    "synguard top": "at mode mode_by mode_story confirm_by plane show_command healthy conditions problems "
    "plane_problem notes pid started_at last_reading_at policies pressure flood verdict verdict_kind targets incidents "
    "countermeasures leaks ceilings bans_active peers "
    "bans_by challenges proven_peers totals sampling_one_in ledger_bytes sensors running stale agent "
    "bans_left_out bans kernel_bans",
    "synguard bans": "id target scope action ports origin policy reason score times created_at expires_at left_s "
    "dry_run forced header evidence packets bytes answered passed dropped last_hit_at ended_at ended_why active "
    "in_kernel",
    "synguard ban": "dry_run counts bans impact left_out warnings",
    "synguard unban": "counts lifted",
    "synguard import": "changed allow bans pack left_out",
    "synguard extend": "extended made_permanent",
    "synguard allow add": "networks in_force agent_running lifted",
    "synguard allow remove": "networks in_force agent_running",
    "synguard allow list": "entries protected",
    "synguard allow resolve": "entries failed",
    "synguard report": "generator since until host mode running verdict bans_automatic served_clients_touched "
    "worth_a_look not_known advice next bans spared spoofed watched incidents could_be_hurt touched actions timeline",
    "synguard review": "within_s extended_by_s bans extended released made_permanent",
    "synguard why": "address known banned own protected score now sockets bans verdicts limits leaks warnings",
    "synguard connections": "at read_by states half_open half_open_by_prefix established listeners listeners_left_out",
    "synguard policy check": "ok files problems",
    "synguard policy show": "name about ports action scope limits prefix_limits pressed hold steps bans prefixes "
    "judges",
    "synguard policy replay": "recording policies banned bans spared floods incidents close not_banned "
    "ticks_without_samples notes",
    "synguard policy suggest": "files recorded_s calm_s margin left_out tried warnings policies pack",
    "synguard notify show": "services signed name events digest quiet per_hour unhealthy_for",
    "synguard doctor": "healthy findings listeners coverage",
    "synguard panic": "stopped agent lifted problems",
    "synguard flush": "flushed agent_running syn_cookies_put_back_to tcp_timestamps_put_back_to",
}
"""Verb → keys of what --json prints, or of each element where that is a list, in its order; a test asks the verbs."""
