"""What differs between dry-run, enforcing and a trial: one bundle, made at once and exchanged whole."""

from __future__ import annotations

from dataclasses import dataclass

from synguard.agent.ban_effect import BanEffect
from synguard.agent.enforcement import Enforcement
from synguard.agent.sensor_scheduler import HostSensors
from synguard.agent.syn_cookies import SynCookies, cookies_for
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.sysctl import Settings
from synguard.ledger import Ledger
from synguard.model import Mode
from synguard.policy.models import Config


@dataclass(frozen=True, slots=True)
class ModeParts:
    """The parts of one mode."""

    enforcing: bool
    enforcement: Enforcement
    cookies: SynCookies
    effect: BanEffect


def mode_parts(
    config: Config,
    ledger: Ledger,
    plane: Plane,
    reconciler: Reconciler,
    sensors: HostSensors,
    settings: Settings | None = None,
) -> ModeParts:
    """Return the parts of the config's mode on a plane that is checked; ``settings`` are the kernel's by default."""
    enforcing = config.mode is Mode.ENFORCE
    enforcement = Enforcement(ledger, plane, reconciler, dry_run=not enforcing)
    return ModeParts(
        enforcing, enforcement, cookies_for(config, ledger, settings), BanEffect(ledger, enforcement, sensors)
    )
