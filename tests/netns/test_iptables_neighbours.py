"""Living with others in the kernel: foreign rules, wiped rules, tools that do and do not take the lock."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synguard.enforcer import locks
from synguard.enforcer.choose import choose_plane
from synguard.enforcer.flush import flush_kernel
from synguard.enforcer.glance import glance
from synguard.enforcer.iptables import chains
from synguard.enforcer.iptables.rules import Rule, tables
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.iptables.xtables import XTable
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import ChangedUnderneathError, PlaneError
from synguard.memory import at_once
from synguard.model import Action, Scope
from synguard.policy.models import Config
from tests.support.bans import ban, wanted
from tests.support.network_thread import NetworkThread, PlaneThere

pytestmark = pytest.mark.kernel

SAVES = (
    "iptables-legacy-save; ip6tables-legacy-save; iptables-nft-save 2>/dev/null; ip6tables-nft-save 2>/dev/null;"
    " nft list ruleset; ipset save"
)
FOREIGN = """
iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT
iptables-legacy -t raw -A PREROUTING -s 198.18.0.1 -m comment --comment "somebody's synguard" -j DROP
ip6tables-legacy -t raw -L >/dev/null; ip6tables-legacy -L >/dev/null
iptables-nft -A INPUT -s 198.18.0.2 -j DROP
nft add table inet mine
ipset create other hash:net; ipset add other 198.18.0.0/24
"""
GOAL = wanted(
    ban("a", "192.0.2.0/24", ports=(80, 443)),
    ban("b", "2001:db8::/64", Scope.ALL, Action.REJECT),
    ban("c", "192.0.2.1", Scope.ALL),
    allow=("127.0.0.1", "::1"),
    proven=("192.0.2.9",),
)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkThread]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    thread = NetworkThread()
    yield thread
    thread.close()


@pytest.fixture
def plane(host: NetworkThread) -> PlaneThere:
    return PlaneThere(host, lambda: IptablesSetsPlane(now))


@pytest.fixture
def reconciler(plane: PlaneThere, tmp_path: Path) -> Reconciler:
    return Reconciler(plane, tmp_path / "apply.lock")


def saved(host: NetworkThread) -> list[str]:
    """Return what the tools save, without counters and the seconds that members have left."""
    lines = host.sh(SAVES).splitlines()
    return [
        re.sub(r" timeout [1-9]\d*", "", line).split(" [")[0].split(" initval")[0]
        for line in lines
        if not line.startswith("#")
    ]


def test_flush_leaves_the_kernel_as_it_was_before(host: NetworkThread, reconciler: Reconciler) -> None:
    host.sh(FOREIGN)
    before = saved(host)
    reconciler.reconcile(GOAL, now())
    assert saved(host) != before
    reconciler.flush()
    assert saved(host) == before


def test_looking_creates_nothing_in_the_kernel(host: NetworkThread, plane: PlaneThere) -> None:
    plane.read()
    plane.flush()
    assert host.sh("cat /proc/thread-self/net/ip_tables_names /proc/thread-self/net/ip6_tables_names") == ""


def test_enforcing_touches_the_tables_raw_and_filter_alone(host: NetworkThread, reconciler: Reconciler) -> None:
    """A legacy ``nat`` table switches connection tracking on for the whole host; python-iptables opens it unasked."""
    reconciler.reconcile(GOAL, now())
    names = host.sh("cat /proc/thread-self/net/ip_tables_names /proc/thread-self/net/ip6_tables_names")
    assert set(names.split()) == {"raw", "filter"}


@pytest.mark.parametrize(
    "wiping",
    [
        "iptables-legacy -F; iptables-legacy -t raw -F",
        "iptables-legacy -t raw -D PREROUTING 1",
        "iptables-legacy -F; iptables-legacy -X; ip6tables-legacy -F; ip6tables-legacy -X",
        "printf '*raw\\nCOMMIT\\n*filter\\nCOMMIT\\n' | iptables-legacy-restore",
        "ip6tables-legacy -F SYNGUARD-REJECT",
        "iptables-legacy -t raw -D SYNGUARD 1",
    ],
)
def test_what_others_wipe_is_told_and_put_back(host: NetworkThread, reconciler: Reconciler, wiping: str) -> None:
    reconciler.reconcile(GOAL, now())
    before = sorted(saved(host))
    host.sh(wiping)
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert outcome.drift
    assert sorted(saved(host)) == before
    again = reconciler.reconcile(GOAL, now(), full=True)
    assert not again.change
    assert again.drift == ()


def test_members_that_others_take_out_of_sets_are_put_back(host: NetworkThread, tmp_path: Path) -> None:
    plane = PlaneThere(host, lambda: IptablesSetsPlane(now))
    reconciler = Reconciler(plane, tmp_path / "lock")
    reconciler.reconcile(GOAL, now())
    host.sh("ipset del synguard-port-drop-4 192.0.2.0/24,tcp:80; ipset flush synguard-allow-6")
    assert reconciler.reconcile(GOAL, now(), full=True).drift == (
        "1 ban gone from the kernel, put back: a (192.0.2.0/24)",
        "1 exception gone from the kernel, put back: ::1",
    )
    assert not reconciler.reconcile(GOAL, now(), full=True).change


def test_a_set_that_an_older_release_made_smaller_is_exchanged(host: NetworkThread, tmp_path: Path) -> None:
    host.sh("ipset create synguard-all-drop-4 hash:net maxelem 10 timeout 0 counters comment")
    host.sh("iptables-legacy -t raw -A OUTPUT -m set --match-set synguard-all-drop-4 src -j RETURN")
    reconciler = Reconciler(PlaneThere(host, lambda: IptablesSetsPlane(now)), tmp_path / "lock")
    reconciler.reconcile(GOAL, now())
    assert not reconciler.reconcile(GOAL, now(), full=True).change
    assert "maxelem 131072" in host.sh("ipset save synguard-all-drop-4")


def test_foreign_rules_in_our_chain_are_told_of_and_outlive_everything(
    host: NetworkThread, reconciler: Reconciler
) -> None:
    reconciler.reconcile(GOAL, now())
    host.sh("iptables-legacy -t raw -I SYNGUARD 1 -s 198.18.0.3 -j ACCEPT")
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert outcome.foreign == ("iptables raw: rule 1 of SYNGUARD (-j ACCEPT)",)
    assert not outcome.change
    with pytest.raises(PlaneError, match="SYNGUARD holds 1 rules that are not synguard's"):
        reconciler.flush()
    left = host.sh("iptables-legacy-save -t raw")
    assert "-A SYNGUARD -s 198.18.0.3/32 -j ACCEPT" in left
    assert "PREROUTING -m comment" not in left
    assert host.sh("ipset list -n") == ""


def test_a_rule_that_lets_packets_past_us_is_told_of_and_not_fought(
    host: NetworkThread, reconciler: Reconciler
) -> None:
    """The classic: an ESTABLISHED accept that somebody puts first, and bans that look right and stop nothing."""
    reconciler.reconcile(GOAL, now())
    host.sh("iptables-legacy -I INPUT 1 -i lo -j DROP; iptables-legacy -I INPUT 2 -p tcp -j ACCEPT")
    outcome = reconciler.reconcile(GOAL, now(), full=True)
    assert outcome.foreign == ("iptables filter: rule 2 of INPUT accepts packets before SYNGUARD sees them",)
    assert not outcome.change


def test_a_set_that_a_foreign_rule_uses_is_named_when_it_cannot_be_removed(host: NetworkThread) -> None:
    host.sh("ipset create synguard-all-drop-4 hash:net; ipset create synguard-of-old hash:ip")
    host.sh("iptables-legacy -t raw -A OUTPUT -m set --match-set synguard-all-drop-4 dst -j DROP")
    with pytest.raises(PlaneError, match=r"set synguard-all-drop-4: .*in use"):
        host.call(flush_kernel)
    assert host.sh("ipset list -n").split() == ["synguard-all-drop-4"]


def test_a_process_that_ignores_the_lock_makes_us_read_again_and_try_anew(
    host: NetworkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``iptables`` before 1.6 and other libiptc programs do not lock; the kernel refuses our stale copy."""
    table = tables((4,))[0]
    attempts = []

    def change(copy: XTable) -> bool:
        attempts.append(copy)
        if len(attempts) < 3:
            host_command = "XTABLES_LOCKFILE=/dev/null iptables-legacy -t raw -A OUTPUT -s 198.18.0.4 -j DROP"
            assert os.system(host_command) == 0  # runs in this thread's namespace
        copy.insert("OUTPUT", 0, Rule("synguard frame v1 test", "RETURN"))
        return True

    host.call(chains.edit, table, change)
    assert len(attempts) == 3
    saved_rules = host.sh("iptables-legacy-save -t raw")
    assert saved_rules.count("198.18.0.4") == 2
    assert saved_rules.count("synguard frame v1 test") == 1


def test_a_table_that_never_holds_still_is_an_error_of_its_own(host: NetworkThread) -> None:
    def change(copy: XTable) -> bool:
        os.system("XTABLES_LOCKFILE=/dev/null iptables-legacy -t raw -A OUTPUT -s 198.18.0.4 -j DROP")
        copy.insert("OUTPUT", 0, Rule("synguard frame v1 test", "RETURN"))
        return True

    with pytest.raises(ChangedUnderneathError, match="committing iptables raw"):
        host.call(chains.edit, tables((4,))[0], change)


def test_we_wait_for_whoever_holds_the_lock_and_say_so_when_it_takes_too_long(
    host: NetworkThread, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "XTABLES_WAIT_S", 0.05)
    path = locks.xtables_path()
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PlaneError, match=r"xtables\.lock: an iptables command has held it"):
            reconciler.reconcile(GOAL, now())
    outcome = reconciler.reconcile(GOAL, now())
    assert set(outcome.held) == set(GOAL.bans)


def test_iptables_is_kept_out_while_we_hold_the_lock(host: NetworkThread) -> None:
    def change(copy: XTable) -> bool:
        assert os.system("timeout -s KILL 0.5 iptables-legacy -w -t raw -L >/dev/null 2>&1") != 0
        return False

    host.call(chains.edit, tables((4,))[0], change)
    host.sh("iptables-legacy -t raw -L")


def test_a_full_set_is_an_error_that_names_the_ceiling(host: NetworkThread, tmp_path: Path) -> None:
    reconciler = Reconciler(PlaneThere(host, lambda: IptablesSetsPlane(now, 8)), tmp_path / "lock")
    fits = wanted(*(ban(f"b{number}", f"192.0.2.{number}") for number in range(8)))
    reconciler.reconcile(fits, now())
    too_many = wanted(*fits.bans.values(), ban("more", "192.0.2.200"))
    with pytest.raises(PlaneError, match="synguard-new-drop-4 holds its ceiling of members"):
        reconciler.reconcile(too_many, now())
    assert set(reconciler.reconcile(fits, now()).held) == set(fits.bans)


def test_the_plane_is_chosen_by_config_and_by_what_works_here(
    host: NetworkThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(**keys: str) -> str:
        return host.call(choose_plane, Config.model_validate(keys)).name

    assert chosen() == "iptables-sets"
    assert chosen(plane="iptables", members="rules") == "iptables-sets"  # a key of earlier releases
    assert chosen(plane="nftables") == "nftables"
    monkeypatch.setattr("synguard.programs.PLACES", str(tmp_path))  # neither ipset nor nft is installed
    with pytest.raises(PlaneError, match="install the package ipset"):
        chosen()


def test_removing_everything_works_without_the_ipset_tool(
    host: NetworkThread, reconciler: Reconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler.reconcile(GOAL, now())
    with monkeypatch.context() as patch:
        patch.setattr("synguard.programs.PLACES", str(tmp_path))
        host.call(flush_kernel)
    assert "synguard" not in host.sh("iptables-legacy-save; ip6tables-legacy-save").lower()


def test_a_host_without_ipv6_holds_its_ipv6_bans_by_having_no_such_packets(
    host: NetworkThread, plane: PlaneThere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An allow-list may name IPv6 networks on any host; it must not be put back and told of in every pass."""
    module = type(plane._plane).__module__
    monkeypatch.setattr(f"{module}.families_here", lambda: (4,))
    there = PlaneThere(host, lambda: type(plane._plane)(now))
    reconciler = Reconciler(there, tmp_path / "apply.lock")
    assert set(reconciler.reconcile(GOAL, now()).held) == set(GOAL.bans)
    again = reconciler.reconcile(GOAL, now(), full=True)
    assert not again.change
    assert again.drift == ()
    assert host.sh("cat /proc/thread-self/net/ip6_tables_names") == ""
    assert not reconciler.reconcile(Desired(), now(), full=True).held


def test_wanting_nothing_keeps_the_frame_and_lets_everybody_through(
    host: NetworkThread, reconciler: Reconciler, plane: PlaneThere
) -> None:
    reconciler.reconcile(GOAL, now())
    reconciler.reconcile(Desired(), now())
    actual = plane.read()
    assert actual.intact
    assert not actual.bans


def test_a_look_in_pieces_sees_what_a_look_at_once_sees(host: NetworkThread, tmp_path: Path) -> None:
    plane = IptablesSetsPlane(now)
    Reconciler(PlaneThere(host, lambda: plane), tmp_path / "lock").reconcile(GOAL, now())
    patient, whole = host.call(lambda: at_once(plane.read_in_pieces())), host.call(plane.read)
    assert patient == whole
    assert set(patient.bans) == {"a", "b", "c"}


def test_a_look_in_pieces_finds_a_set_that_is_gone(host: NetworkThread, tmp_path: Path) -> None:
    plane = IptablesSetsPlane(now)
    Reconciler(PlaneThere(host, lambda: plane), tmp_path / "lock").reconcile(GOAL, now())
    host.sh("iptables-legacy -t raw -F; iptables-legacy -F; ipset destroy synguard-all-drop-4")
    seen = host.call(lambda: at_once(plane.read_in_pieces()))
    assert "c" not in seen.bans
    assert not seen.intact


def test_a_look_that_is_given_up_leaves_no_process(host: NetworkThread, tmp_path: Path) -> None:
    plane = IptablesSetsPlane(now)
    Reconciler(PlaneThere(host, lambda: plane), tmp_path / "lock").reconcile(GOAL, now())

    def give_up() -> None:
        pieces = plane.read_in_pieces()
        next(pieces)
        pieces.close()

    before = children()
    host.call(give_up)
    assert children() <= before


def children() -> set[int]:
    return {int(word) for task in Path("/proc/self/task").glob("*/children") for word in task.read_text().split()}


@pytest.mark.parametrize("family", [4, 6])
def test_a_glance_tells_a_flushed_table_from_one_that_is_as_it_was(host: NetworkThread, family: int) -> None:
    command = "iptables-legacy" if family == 4 else "ip6tables-legacy"
    host.sh(f"{command} -t raw -A PREROUTING -p tcp --dport 81 -j DROP")
    before = host.call(glance, "iptables-sets")
    assert before == host.call(glance, "iptables-sets") != ()
    host.sh(f"{command} -t raw -F")
    assert host.call(glance, "iptables-sets") != before
