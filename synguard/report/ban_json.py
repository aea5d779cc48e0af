"""Bans as JSON text, straight from the table: 100,000 of them without an object for each, nor a dict."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from synguard.clock import rfc3339
from synguard.ledger.records import ListedBan, evidence_of
from synguard.report.shapes import evidence_shape

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOOL: Final = ("false", "true")
_KEPT: Final = 1024
"""Different bans of which what they say is kept."""


def ban_objects(bans: Iterable[ListedBan], now: datetime, held: Container[str] | None) -> Iterator[str]:
    """Yield each ban as ``json.dumps`` would write ``record_shape`` of it, and ``in_kernel`` behind that.

    ``held`` are the targets that the kernel stops; None where it may not be asked.
    """
    now_us = (now - _EPOCH) // timedelta(microseconds=1)
    made: dict[tuple[object, ...], tuple[str, bool]] = {}
    for one in bans:
        shared = one[2:]
        found = made.get(shared)
        if found is None:
            if len(made) >= _KEPT:
                made.clear()
            found = made[shared] = _shared(one, now_us)
        text, real = found
        target = one.target
        in_kernel = "null" if real and held is None else _BOOL[real and held is not None and target in held]
        yield f'{{"id": "{one.id}", "target": "{target}", {text}, "in_kernel": {in_kernel}}}'


def _shared(one: ListedBan, now_us: int) -> tuple[str, bool]:
    """Return what a ban says between its target and ``in_kernel``, and whether the kernel should hold it.

    The bans of a long list share it.
    """
    stands = one.stands(now_us)
    left = "0.0" if not stands else "null"
    if stands and one.expires_us is not None:
        left = repr(round((one.expires_us - now_us) / 1e6, 3))
    return (
        f'"scope": "{one.scope}", "action": "{one.action}", '
        f'"ports": [{one.ports.replace(",", ", ")}], "origin": "{one.origin}", "policy": {_text(one.policy)}, '
        f'"reason": {_text(one.reason)}, "score": {one.score!r}, "times": {one.times}, '
        f'"created_at": {_time(one.created_us)}, "expires_at": {_time(one.expires_us)}, "left_s": {left}, '
        f'"dry_run": {_BOOL[one.dry_run]}, "forced": {_BOOL[one.forced]}, '
        f'"header": {_text(one.header) if one.header else "null"}, '
        f'"evidence": {_evidence(one.evidence)}, '
        f'"packets": {one.packets}, "bytes": {one.bytes}, "answered": {one.answered}, "passed": {one.passed}, '
        f'"dropped": {one.packets - one.answered}, "last_hit_at": {_time(one.last_hit_us)}, '
        f'"ended_at": {_time(one.ended_us)}, "ended_why": {_text(one.ended_why)}, "active": {_BOOL[stands]}'
    ), stands and not one.dry_run


@lru_cache(maxsize=1024)
def _text(text: str) -> str:
    return json.dumps(text)


@lru_cache(maxsize=1024)
def _time(us: int | None) -> str:
    return "null" if us is None else f'"{rfc3339(_EPOCH + timedelta(microseconds=us))}"'


def _evidence(text: str) -> str:
    return text if text == "[]" else json.dumps([evidence_shape(one) for one in evidence_of(text)])
