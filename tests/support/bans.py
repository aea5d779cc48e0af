"""Bans as tests write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from synguard.addresses import parse_network
from synguard.enforcer.plane import Desired
from synguard.model import Action, Ban, Origin, Scope


def ban(
    ban_id: str,
    target: str,
    scope: Scope = Scope.NEW,
    action: Action = Action.DROP,
    ports: tuple[int, ...] = (),
    seconds: float | None = 7200.0,
    start: datetime | None = None,
    dry_run: bool = False,
) -> Ban:
    """Return a ban from ``start``, or from now, for some seconds; None seconds for a permanent one of a person.

    Two hours outlast the longest run: modules make bans as they are collected, long before their tests.
    """
    begin = start or datetime.now(UTC)
    return Ban(
        id=ban_id,
        target=parse_network(target),
        scope=scope,
        action=action,
        origin=Origin.AUTO if seconds is not None else Origin.MANUAL,
        policy="default",
        reason="half_open 312 / 64",
        created_at=begin,
        expires_at=None if seconds is None else begin + timedelta(seconds=seconds),
        ports=ports,
        dry_run=dry_run,
    )


def wanted(*bans: Ban, allow: tuple[str, ...] = (), proven: tuple[str, ...] = ()) -> Desired:
    """Return what the kernel should hold, with exceptions as text."""
    return Desired(
        {one.id: one for one in bans},
        frozenset(parse_network(text) for text in allow),
        frozenset(parse_network(text) for text in proven),
    )
