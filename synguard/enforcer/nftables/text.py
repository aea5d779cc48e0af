"""What ``nft -f`` is given: the lines that make and mend our table, its sets, and their elements.

Pure: `nft.py` runs the tool; what is there is read from the kernel, by `parser.py` and `elements.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.enforcer.names import Kind, exception_comment, member_comment
from synguard.enforcer.nftables.layout import (
    BASES,
    CHAINS,
    FIXED,
    MAX_ELEMENTS,
    TABLE,
    SetId,
    Slot,
    exception_set,
    set_for,
)
from synguard.enforcer.nftables.parser import FoundRule, TableFrame
from synguard.enforcer.plane import Delta
from synguard.memory import in_parts
from synguard.model import Ban, Hits, KernelBan
from synguard.network_words import first_word

PER_LINE: Final = 100
"""Elements per line. One line is one message to the kernel and at most one complaint, which repeats the line."""
_JIFFY_MS: Final = 10
"""The kernel rounds a timeout down to its tick, which is 1 to 10 ms long; a ban must not end early."""

_DAY_S: Final = 86_400


def frame_lines(frame: TableFrame, coming: set[SetId]) -> Iterator[str]:
    """Yield what makes the frame whole, and the ``coming`` sets with their rules."""
    if frame.unfit:
        yield f"delete table {TABLE}"
        yield from frame_lines(TableFrame(most=frame.most), coming)
        return
    if not frame.present:
        yield f"add table {TABLE}"
    yield from (chain_line(chain) for chain in CHAINS if chain not in frame.chains)
    yield from (set_line(one, frame.most) for one in sorted(coming - frame.sets))
    for chain in CHAINS:
        yield from _rule_lines(frame, chain, coming) if chain not in FIXED else _fixed_lines(frame, chain)


def _fixed_lines(frame: TableFrame, chain: str) -> Iterator[str]:
    """Yield what puts the fixed rules at the head of a chain; foreign ones follow."""
    found = [rule.comment for rule in frame.rules[chain]]
    if found == [rule.comment for rule in FIXED[chain]]:
        return
    yield from (_delete(chain, rule) for rule in frame.rules[chain])
    yield from (f"insert rule {TABLE} {chain} {rule}" for rule in reversed(FIXED[chain]))


def _rule_lines(frame: TableFrame, chain: str, coming: set[SetId]) -> Iterator[str]:
    """Yield what gives a chain one rule per set."""
    wanted = {rule.comment: rule for rule in frame.wanted_rules(chain, coming)}
    for found in frame.rules[chain]:
        if wanted.pop(found.comment, None) is None:
            yield _delete(chain, found)
    yield from (f"add rule {TABLE} {chain} {rule}" for rule in wanted.values())


def removal_lines(frame: TableFrame, sets: Iterable[SetId]) -> Iterator[str]:
    """Yield what removes sets together with their rules."""
    for one in sets:
        comment = one.rule.comment
        yield from (_delete(one.chain, rule) for rule in frame.rules[one.chain] if rule.comment == comment)
        yield f"delete set {TABLE} {one.name}"


def _delete(chain: str, rule: FoundRule) -> str:
    return f"delete rule {TABLE} {chain} handle {rule.handle}"


def chain_line(chain: str) -> str:
    """Return the line that makes a chain."""
    hook = f" {{ {_base_line(chain)} }}" if chain in BASES else ""
    return f"add chain {TABLE} {chain}{hook}"


def _base_line(chain: str) -> str:
    """Return what makes a base chain one, as it is put in."""
    hook, priority = BASES[chain]
    return f"type filter hook {hook} priority {priority}; policy accept;"


def set_line(one: SetId, most: int | None = None) -> str:
    """Return the line that makes a set for ``most`` members, and fails if it is there."""
    return f"create set {TABLE} {one.name} {{ {'; '.join((*one.lines, f'size {most or MAX_ELEMENTS}'))}; }}"


def sets_needed(change: Delta, now: datetime) -> set[SetId]:
    """Return the sets that what is added goes into."""
    return {
        *(set_for(ban) for ban in change.add if ban.active(now)),
        *(exception_set(Kind.ALLOW, network) for network in change.allow_add),
        *(exception_set(Kind.PROVEN, network) for network in change.proven_add),
    }


def slots(ban: Ban | KernelBan) -> list[Slot]:
    """Return the elements that hold a ban: one, or one per port."""
    one, address = set_for(ban), first_word(ban.target)
    return [(one, f"{address} . {port}") for port in ban.ports] or [(one, address)]


def kept_slots(change: Delta, now: datetime) -> list[Slot]:
    """Return the elements that are deleted and created for the same ban, and so must keep their counts."""
    adding = {ban.id: ban for ban in change.add if change.remove and ban.active(now)}
    kept = ((held, adding[held.ban_id]) for held in change.remove if held.ban_id in adding)
    return [slot for held, ban in kept for slot in {*slots(held)}.intersection(slots(ban))]


def element_lines(
    change: Delta, now: datetime, there: set[SetId], counts: Mapping[Slot, Hits], careful: bool
) -> Iterator[str]:
    """Yield the change as lines of one transaction: what goes, then what comes.

    The kernel cannot give an element another comment, nor before Linux 6.12 another timeout, so an element that
    changes is deleted and created with its ``counts``. ``there`` are the sets that exist already. Creating what exists
    and deleting what does not are refused; ``careful`` makes an element exist before it is deleted, and deletes it
    before it is created, which takes three times as long and cannot fail. Bans that have expired are not added.
    """
    adding = [ban for ban in change.add if ban.active(now)]
    coming = {slot: _element(slot[1], ban, now, counts.get(slot)) for ban in adding for slot in slots(ban)}
    going = dict.fromkeys(slot for held in change.remove for slot in slots(held) if slot[0] in there)
    excepted = list(_exception_slots(change.allow_remove, change.proven_remove))
    unsure = [slot for slot in excepted if slot[0] in there]
    if careful:
        unsure += [slot for slot in {**going, **coming} if slot[0] in there]
        going = {}
    yield from _lines("add", unsure)
    yield from _lines("delete", [*unsure, *going])
    spared = _exception_slots(change.allow_add, change.proven_add)
    yield from _lines("add", ((one, f'{key} comment "{exception_comment(one.kind)}"') for one, key in spared))
    yield from _lines("create", ((slot[0], text) for slot, text in coming.items()))


def _exception_slots(allow: Iterable[Network], proven: Iterable[Network]) -> Iterator[Slot]:
    for kind, networks in ((Kind.ALLOW, allow), (Kind.PROVEN, proven)):
        yield from ((exception_set(kind, network), str(network.network_address)) for network in networks)


def _element(key: str, ban: Ban, now: datetime, hits: Hits | None) -> str:
    counter = f" counter packets {hits.packets} bytes {hits.bytes}" if hits else ""
    return f'{key}{counter}{_timeout(ban, now)} comment "{member_comment(ban.id, ban.expires_at)}"'


def _timeout(ban: Ban, now: datetime) -> str:
    if ban.expires_at is None:
        return ""
    seconds, ms = divmod(math.ceil((ban.expires_at - now).total_seconds() * 1000) + _JIFFY_MS, 1000)
    return f" timeout {seconds // _DAY_S}d{seconds % _DAY_S}s{ms}ms"  # the tool takes eight digits of each unit


def _lines(verb: str, elements: Iterable[tuple[SetId, str]]) -> Iterator[str]:
    by_set: dict[SetId, list[str]] = defaultdict(list)
    for one, text in elements:
        by_set[one].append(text)
    for one, texts in by_set.items():
        for part in in_parts(texts, PER_LINE):
            yield f"{verb} element {TABLE} {one.name} {{ {', '.join(part)} }}"
