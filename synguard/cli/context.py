"""What verbs open on this host: the ledger, the plane, and a person's hand on both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from synguard.addresses import EMBEDDING
from synguard.clock import utcnow as utcnow  # for the verbs
from synguard.errors import SensorError, SynguardError

if TYPE_CHECKING:
    from synguard.enforcer.plane import Plane, Stopped
    from synguard.ledger import Ledger, LedgerReader
    from synguard.model import Ban, Hits
    from synguard.operator.apply import VerbContext
    from synguard.policy.models import Config
    from synguard.readings import KnownParts, Protected


@contextmanager
def opened_ledger(config: Config) -> Iterator[Ledger]:
    """Open the ledger in the state directory, and close it.

    Raises:
        LedgerError: It cannot be read; exit code 4 where this user may not.
    """
    from synguard.ledger import LEDGER_FILE, Ledger

    with Ledger.open(config.state_dir / LEDGER_FILE, config.ledger) as ledger:
        yield ledger


@contextmanager
def ledger_for_reading(config: Config) -> Iterator[LedgerReader]:
    """Do the same for who only reads, and need not own it."""
    from synguard.ledger import LEDGER_FILE, Ledger, LedgerReader

    path = config.state_dir / LEDGER_FILE
    kind: type[LedgerReader] = Ledger
    with suppress(OSError):  # opening it says what is wrong
        kind = Ledger if path.stat().st_uid == os.geteuid() else LedgerReader
    with kind.open(path, config.ledger) as ledger:
        yield ledger


def protected_here(config: Config) -> Protected:
    """Return who may never be banned: as the running agent has it, and where none runs, as this host shows it now.

    Where the configuration says otherwise than the agent, that is one of the gaps. What cannot be read now stays
    protected as the last agent knew it.
    """
    from synguard.status.freshness import agent_runs
    from synguard.status.protected_file import read_protected_file

    known = read_protected_file(config.state_dir)
    if known is not None and agent_runs(config.runtime_dir) is not False:
        from synguard.sensors.protected import differences

        protected = replace(known, gaps=(*known.gaps, *differences(config.allow, known.parts)))
    else:
        protected = _read_here(config, known.parts if known else {})
    return replace(protected, embedding=(*EMBEDDING, *config.pref64))


def _read_here(config: Config, known: KnownParts) -> Protected:
    from synguard.sensors.containers import Containers, with_containers
    from synguard.sensors.protected import read_protected

    seen = read_protected(config.allow, known=known)
    if config.containers.watch == "off":
        return seen
    try:
        with closing(Containers()) as containers:
            containers.look(0.0)
            return with_containers(seen, containers)
    except SensorError as error:
        return replace(seen, problems=(*seen.problems, str(error)))


def working_plane(config: Config) -> Plane:
    """Return the plane that holds our rules on this host, checked.

    Raises:
        NotPermittedError: This user may not change the firewall; says which capability is missing.
        PlaneUnavailableError: No plane works here.
    """
    from synguard.enforcer.choose import choose_plane
    from synguard.enforcer.verb_plane import with_running_program

    return with_running_program(choose_plane(config), utcnow, config.challenge.limit_per_second)


@contextmanager
def open_context(config: Config) -> Iterator[VerbContext]:
    """Open plane, then ledger: who may not touch the kernel does not touch the ledger either.

    Raises:
        NotPermittedError: This user may not; nothing was changed.
    """
    from synguard.enforcer.locks import APPLY_LOCK
    from synguard.enforcer.reconcile.reconciler import Reconciler
    from synguard.enforcer.sysctl import ALWAYS, SYN_COOKIES, Sysctl
    from synguard.operator.apply import BanApplier, VerbContext
    from synguard.operator.panic import refuse_in_panic
    from synguard.private import private_directory

    plane = working_plane(config)
    private_directory(config.runtime_dir, "runtime_dir")
    protected = protected_here(config)
    with opened_ledger(config) as ledger:
        reconciler = Reconciler(plane, config.runtime_dir / APPLY_LOCK)
        settings = Sysctl()
        applier = BanApplier(
            ledger,
            plane,
            reconciler,
            protected,
            utcnow,
            cookies_on=lambda: settings.read(SYN_COOKIES) == ALWAYS,
            refuse=lambda: refuse_in_panic(config.state_dir),
        )
        yield VerbContext(ledger, plane, protected, applier)


def kernel_stopped(config: Config, bans: Iterable[Ban] | None = None) -> Stopped | None:
    """Return what the kernel stops now, of these bans alone where some are given.

    None where this user may not ask, or where no plane works.
    """
    from synguard.enforcer.verb_plane import stopped_by

    try:
        return stopped_by(working_plane(config), bans)
    except SynguardError:
        return None


def kernel_hits(config: Config) -> Mapping[str, Hits] | None:
    """Return what the kernel counts now, ban id → hits; None as for ``kernel_stopped``."""
    try:
        return {ban_id: one.hits for ban_id, one in working_plane(config).read().bans.items()}
    except SynguardError:
        return None
