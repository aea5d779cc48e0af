"""What a review suggests, and that whoever accepts everything hurts nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.addresses import overlaps, parse_network
from synguard.ledger.records import BanRecord
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal
from synguard.policy.policies import BanTimes
from synguard.report.advice import (
    IDLE_S,
    MANY,
    QUIET_S,
    Advice,
    AdvisedStep,
    Around,
    advise,
    can_be_forged,
)
from synguard.report.review import Candidate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FORGEABLE = Evidence(Signal.SYN_RATE, 90.0, 25.0)
HANDSHAKES = Evidence(Signal.CONNECTIONS, 900.0, 250.0)


def ban(target: str = "203.0.113.7", evidence: Evidence | None = FORGEABLE, **more: object) -> Ban:
    """Return an automatic ban that began a minute ago and ends in one."""
    made = Ban(
        id=target.translate(str.maketrans("./:", "---")),
        target=parse_network(target),
        scope=Scope.ALL if evidence is HANDSHAKES else Scope.NEW,
        action=Action.DROP,
        origin=Origin.AUTO if evidence else Origin.MANUAL,
        policy="web",
        reason="because",
        created_at=NOW - timedelta(minutes=1),
        expires_at=NOW + timedelta(minutes=1),
        evidence=(evidence,) if evidence else (),
    )
    return replace(made, **more)  # type: ignore[arg-type]  # fields of a ban


def candidate(one: Ban, hitting: bool = False, quiet_s: float = 60.0, times: int = 1, packets: int = 9) -> Candidate:
    record = BanRecord(one, packets=packets, last_hit_at=NOW - timedelta(seconds=quiet_s) if packets else None)
    return Candidate(record, hitting, quiet_s, times)


def advice(one: Candidate, around: Around = Around()) -> Advice:  # noqa: B008  # frozen
    active_bans = around.active_bans or (one.record.ban,)
    ((_, found),) = advise([one], replace(around, active_bans=active_bans), NOW)
    return found


def test_one_that_still_hits_is_extended_as_its_policy_grows_bans() -> None:
    """Two minutes at first, four the second time: one minute is left, so three more."""
    found = advice(candidate(ban(), hitting=True))
    assert (found.step, found.by_s) == (AdvisedStep.EXTEND, 180.0)
    assert "still hits, last packet 1m ago" in found.reason


def test_the_times_of_its_own_policy_count() -> None:
    times = {"web": BanTimes.model_validate({"first_forgeable": "300s", "cap_forgeable": "400s"})}
    assert advice(candidate(ban(), hitting=True, times=3), Around(times=times)).by_s == 340.0


def test_one_that_lasts_as_long_as_its_policy_allows_is_kept() -> None:
    long = ban(expires_at=NOW + timedelta(minutes=15))
    assert advice(candidate(long, hitting=True, times=9)).step is AdvisedStep.KEEP


def test_a_persons_order_that_still_hits_is_doubled() -> None:
    order = ban(evidence=None, created_at=NOW - timedelta(minutes=59))
    found = advice(candidate(order, hitting=True))
    assert (found.step, found.by_s) == (AdvisedStep.EXTEND, 2 * 3600.0 - 60)


def test_one_who_came_back_on_completed_handshakes_is_to_have_no_end() -> None:
    found = advice(candidate(ban(evidence=HANDSHAKES), hitting=True, times=MANY))
    assert found.step is AdvisedStep.PERMANENT
    assert f"banned {MANY} times" in found.reason


@pytest.mark.parametrize(
    "one",
    [
        candidate(ban(evidence=FORGEABLE), hitting=True, times=99),
        candidate(ban(evidence=FORGEABLE, scope=Scope.ALL), hitting=True, times=99),
        candidate(ban(evidence=HANDSHAKES, scope=Scope.NEW), hitting=True, times=99),
        candidate(ban(evidence=HANDSHAKES), hitting=True, times=MANY - 1),
        candidate(ban(evidence=HANDSHAKES), hitting=False, times=99),
        candidate(ban("203.0.113.0/24", evidence=HANDSHAKES), hitting=True, times=99),
        candidate(ban("2001:db8::/56", evidence=HANDSHAKES), hitting=True, times=99),
        candidate(ban(evidence=None), hitting=True, times=99),
        candidate(ban(evidence=HANDSHAKES, dry_run=True), hitting=True, times=99),
    ],
    ids=["forgeable", "forgeable, all", "new only", "few times", "quiet", "prefix", "IPv6", "by hand", "dry-run"],
)  # fmt: skip
def test_nobody_else_is_to_have_no_end(one: Candidate) -> None:
    assert advice(one).step is not AdvisedStep.PERMANENT


def test_a_prefix_behind_a_translator_is_many_parties_and_who_is_protected_in_it_is_found() -> None:
    behind = Around(protected={parse_network("192.0.2.7"): "office"}, embedding=(IPv6Network("2001:db8:64::/96"),))
    many = candidate(ban("2001:db8:64::c633:6400/120", evidence=HANDSHAKES), hitting=True, times=99)
    assert advice(many, behind).step is not AdvisedStep.PERMANENT
    assert "office" in advice(candidate(ban("2001:db8:64::c000:207")), behind).reason


def test_one_that_is_quiet_for_long_is_let_go_and_one_that_is_not_is_kept() -> None:
    long = ban(created_at=NOW - timedelta(hours=2))
    assert advice(candidate(long, quiet_s=QUIET_S)).step is AdvisedStep.RELEASE
    found = advice(candidate(long, quiet_s=QUIET_S - 1))
    assert (found.step, "ends by itself in 1m" in found.reason) == (AdvisedStep.KEEP, True)


def test_one_that_never_stopped_anything_is_let_go() -> None:
    idle = ban(created_at=NOW - timedelta(seconds=IDLE_S))
    assert advice(candidate(idle, quiet_s=IDLE_S, packets=0)).step is AdvisedStep.RELEASE
    assert advice(candidate(ban(), quiet_s=60.0, packets=0)).step is AdvisedStep.KEEP


def test_a_persons_order_is_not_called_quiet_within_a_day() -> None:
    order = ban(evidence=None, created_at=NOW - timedelta(hours=20))
    found = advice(candidate(order, quiet_s=19 * 3600.0))
    assert (found.step, "a person's order" in found.reason) == (AdvisedStep.KEEP, True)
    assert advice(candidate(ban(evidence=None, expires_at=None), quiet_s=9e6)).step is AdvisedStep.KEEP


def test_one_inside_a_wider_ban_that_lasts_longer_is_let_go() -> None:
    inner, outer = ban(), ban("203.0.113.0/24", expires_at=NOW + timedelta(hours=1))
    found = advice(candidate(inner, hitting=True), Around(active_bans=(inner, outer)))
    assert (found.step, "203.0.113.0/24" in found.reason) == (AdvisedStep.RELEASE, True)


@pytest.mark.parametrize(
    "outer",
    [
        ban("203.0.113.0/24", expires_at=NOW + timedelta(seconds=30)),
        ban("203.0.113.0/24", ports=(80,), expires_at=NOW + timedelta(hours=1)),
        ban("203.0.113.0/24", dry_run=True, expires_at=NOW + timedelta(hours=1)),
        ban("198.51.100.0/24", expires_at=NOW + timedelta(hours=1)),
    ],
    ids=["shorter", "of one port", "dry-run", "elsewhere"],
)
def test_a_ban_that_does_not_do_all_of_it_is_no_cover(outer: Ban) -> None:
    inner = ban()
    assert advice(candidate(inner, hitting=True), Around(active_bans=(inner, outer))).step is AdvisedStep.EXTEND


def test_one_who_is_protected_meanwhile_is_let_go_unless_a_person_insisted() -> None:
    around = Around(protected={parse_network("203.0.113.7"): "allow-list"})
    found = advice(candidate(ban("203.0.113.0/24"), hitting=True), around)
    assert (found.step, "allow-list" in found.reason) == (AdvisedStep.RELEASE, True)
    assert advice(candidate(ban(evidence=None, forced=True), hitting=True), around).step is AdvisedStep.KEEP


def test_one_who_arrives_past_our_rules_is_not_extended() -> None:
    one = ban()
    found = advice(candidate(one, hitting=True), Around(leaks=frozenset({one.id})))
    assert (found.step, "synguard doctor" in found.reason) == (AdvisedStep.KEEP, True)


def test_a_would_be_ban_of_whom_nothing_is_seen_would_have_been_let_go() -> None:
    assert advice(candidate(ban(dry_run=True), packets=0)).step is AdvisedStep.RELEASE


WORDS = ["203.0.113.7", "203.0.113.0/24", "203.0.112.0/20", "2001:db8::1", "2001:db8::/64", "2001:db8::/48", "9.9.9.9"]
BANS = st.builds(
    lambda word, evidence, scope, left_s, age_s, forced, dry_run: replace(
        ban(word, evidence),
        scope=Scope.NEW if evidence is FORGEABLE else scope,
        expires_at=None if left_s is None and evidence is None else NOW + timedelta(seconds=left_s or 60),
        created_at=NOW - timedelta(seconds=age_s),
        forced=forced and evidence is None,
        dry_run=dry_run,
    ),
    st.sampled_from(WORDS),
    st.sampled_from([FORGEABLE, HANDSHAKES, None]),
    st.sampled_from(Scope),
    st.none() | st.integers(1, 900_000),
    st.integers(0, 900_000),
    st.booleans(),
    st.booleans(),
)
CANDIDATES = st.builds(
    candidate, BANS, st.booleans(), st.integers(0, 900_000).map(float), st.integers(1, 40), st.integers(0, 99)
)


@settings(max_examples=300)
@given(
    found=st.lists(CANDIDATES, max_size=6),
    parties=st.dictionaries(st.sampled_from(WORDS).map(parse_network), st.just("allow-list"), max_size=3),
    times=st.builds(BanTimes, jitter=st.just(0.5), growth=st.floats(1, 10)),
)
def test_accepting_everything_never_prolongs_who_is_protected_nor_makes_a_forgeable_ban_permanent(
    found: list[Candidate], parties: dict[object, str], times: BanTimes
) -> None:
    around = Around(tuple(one.record.ban for one in found), parties, {"web": times})  # type: ignore[arg-type]
    for one, said in advise(found, around, NOW):
        hit = one.record.ban
        assert said.reason
        if said.step in (AdvisedStep.EXTEND, AdvisedStep.PERMANENT):
            assert not any(overlaps(party, hit.target) for party in parties)  # type: ignore[arg-type]
        if said.step is AdvisedStep.PERMANENT:
            assert not can_be_forged(hit)
            assert hit.origin is Origin.AUTO
        if said.step is AdvisedStep.EXTEND:
            assert hit.expires_at is not None
            assert said.by_s > 0
            if hit.origin is Origin.AUTO:
                cap = times.cap_forgeable if can_be_forged(hit) else times.cap
                assert hit.expires_at + timedelta(seconds=said.by_s) <= NOW + timedelta(seconds=cap)


def test_a_would_be_ban_whose_target_is_really_banned_by_now_needs_no_other_sign() -> None:
    would, real = ban(dry_run=True), ban("203.0.113.0/24", expires_at=NOW + timedelta(seconds=5))
    found = advice(candidate(would, packets=0), Around(active_bans=(would, real)))
    assert "the real ban of 203.0.113.0/24 does it now" in found.reason
