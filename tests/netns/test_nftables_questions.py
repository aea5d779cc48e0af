"""What the nftables plane asks the kernel for: a page costs a page, and many elements are asked for at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from synguard import netlink
from synguard.addresses import format_network
from synguard.enforcer.names import member_comment
from synguard.enforcer.nftables.layout import set_for
from synguard.enforcer.nftables.netlink import TOGETHER
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.plane import Delta, Stopped
from synguard.model import Action, Ban, Hits, Scope
from tests.support.bans import ban
from tests.support.network_thread import NetworkThread

pytestmark = pytest.mark.kernel

SHAPES = (
    ban("ports", "192.0.2.0/24", ports=(80, 443)),
    ban("reject", "2001:db8::/64", Scope.ALL, Action.REJECT),
    ban("low", "::c000:201", Scope.ALL),
    ban("single", "192.0.2.1", Scope.ALL, seconds=None),
)
MANY = tuple(ban(f"m{n}", f"198.51.{n // 250}.{n % 250 + 1}", Scope.ALL) for n in range(3 * TOGETHER))
_ELEMENTS = 10 << 8 | 13  # NFT_MSG_GETSETELEM


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def host() -> Iterator[NetworkThread]:
    thread = NetworkThread()
    yield thread
    thread.close()


@pytest.fixture
def plane(host: NetworkThread) -> NftablesPlane:
    made: NftablesPlane = host.call(NftablesPlane, now)
    host.call(made.apply, Delta(add=(*SHAPES, *MANY), allow_add=frozenset({ban("x", "10.0.0.0/8").target}), frame=True))
    return made


@pytest.fixture
def asked(plane: NftablesPlane, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Elements asked for, question by question; -1 for all of a set."""
    asked: list[int] = []
    each, pieces = netlink.ask_each, netlink.ask_in_pieces

    def ask_each(there: Any, kind: int, payloads: Sequence[bytes]) -> Any:
        asked.append(len(payloads))
        return each(there, kind, payloads)

    def ask_in_pieces(there: Any, kind: int, *rest: Any) -> Any:
        asked.extend([-1] if kind == _ELEMENTS else [])
        return pieces(there, kind, *rest)

    monkeypatch.setattr(netlink, "ask_each", ask_each)
    monkeypatch.setattr(netlink, "ask_in_pieces", ask_in_pieces)
    return asked


def counted(one: Ban, key: str, packets: int, octets: int) -> str:
    """Return the command that makes the kernel have counted so much at one element of a ban."""
    of, comment = f"element inet synguard {set_for(one).name}", member_comment(one.id, one.expires_at)
    counter = f'counter packets {packets} bytes {octets} comment "{comment}"'
    return f"nft 'delete {of} {{ {key} }}; add {of} {{ {key} {counter} }}'"


def test_a_page_of_bans_asks_for_its_own_elements_alone(
    host: NetworkThread, plane: NftablesPlane, asked: list[int]
) -> None:
    """Fifty of 100,000 bans read back all of them, which took 6.5 times as long as showing ten of ten."""
    strangers = (ban("gone", "203.0.113.9", Scope.ALL), ban("no-set", "203.0.113.0/29", Scope.ALL))
    more_ports = replace(SHAPES[0], ports=(22, 80, 443))
    found = host.call(plane.stopped_of, (strangers[0], *SHAPES, strangers[1]))
    assert found == Stopped({"192.0.2.0/24", "2001:db8::/64", "::c000:201", "192.0.2.1"})
    assert asked == [7]
    assert host.call(plane.stopped_of, [more_ports]) == Stopped(set())
    host.sh("nft flush chain inet synguard all-drop-4")
    damaged = host.call(plane.stopped_of, SHAPES)
    assert (damaged.targets, bool(damaged.missing)) == (set(), True)


def test_a_full_list_tells_what_reading_back_tells(host: NetworkThread, plane: NftablesPlane) -> None:
    host.sh("; ".join(counted(SHAPES[0], f"192.0.2.0 . {port}", 3, port) for port in (80, 443)))
    host.sh("nft add element inet synguard all-drop-4-32 '{ 192.0.2.77 }'")
    actual = host.call(plane.read)
    read, before = Stopped.of(actual), {format_network(one) for one in actual.stopped}
    assert host.call(plane.stopped) == replace(read, targets=before | {"192.0.2.77"})
    assert read.hits == {"ports": Hits(6, 523)}
    host.sh("nft flush chain inet synguard all-drop-4")
    assert host.call(plane.stopped) == Stopped.of(host.call(plane.read))


def test_bans_that_are_renewed_keep_their_counts_for_a_question_per_many(
    host: NetworkThread, plane: NftablesPlane, asked: list[int]
) -> None:
    """The same list again took 7.6 times ``ipset restore``: each of its elements was a question of its own."""
    host.sh("; ".join(counted(one, str(one.target.network_address), 5, n) for n, one in enumerate(MANY[::40], 1)))
    held = {one.ban_id: one for one in host.call(plane.read).bans.values()}
    later = tuple(replace(one, expires_at=now() + timedelta(hours=3)) for one in MANY)
    asked.clear()
    host.call(plane.apply, Delta(add=later, remove=tuple(held[one.id] for one in MANY)))
    assert asked == [TOGETHER] * 3
    after = host.call(plane.read).bans.values()
    assert {one.ban_id: one.hits for one in after if one.hits.packets} == {
        one.id: Hits(5, n) for n, one in enumerate(MANY[::40], 1)
    }
    assert {one.expires_at for one in after} > {one.expires_at for one in later}
