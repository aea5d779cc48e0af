"""The table of attackers who have read the source: ``make attackers`` plays each, and prints what comes of it now.

``before`` is the figure of the day on which the attack was shown; ``now`` is what the test measured that plays it, a
moment ago. Then each is replayed with real packets, a little smaller, on the host with the agent and at the same time
on the same host without it (tests/support/replays.py): the share of attempts of the class of clients that fares worst,
and of the SYNs of the flood that come to the listener. Some five minutes in all; ``ROWS="4 14"`` plays some.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.support.framing import etc_netns

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack that worked once."""

    number: int
    attack: str
    before: str
    test: str
    """The test that plays it."""


SCENARIO: Final = "tests/scenario/test_attackers.py::test_"
ROWS: Final = (
    Row(
        1, "forged decoys spend the budget for bans", "0 of 6 hosts banned, clients 3.8 %",
        SCENARIO + "forged_decoys_do_not_spend_the_budget_that_stops_real_hosts",
    ),
    Row(
        2, "8 hosts x 1,000 connections beside 40 people", "0 of 8 hosts banned",
        SCENARIO + "heavy_hosts_among_people_are_banned_and_the_people_are_not",
    ),
    Row(
        3, "16 hosts x 395 connections beside 40 people", "40 of 40 people cut off",
        SCENARIO + "a_crowd_of_hosts_below_the_limit_is_cut_without_its_neighbours",
    ),
    Row(
        4, "4 hosts below every limit hold all workers", "no ban, clients 0 %",
        SCENARIO + "hosts_below_every_limit_that_hold_a_stalled_service_are_banned[four hosts]",
    ),
    Row(
        5, "handshakes of a /48, then forged served clients", "served clients 0 %",
        SCENARIO + "handshakes_from_one_network_do_not_push_out_the_served_clients",
    ),
    Row(
        6, "a handshake of one address, a flood of its /64", "never banned",
        SCENARIO + "a_handshake_of_one_address_spares_no_other_address_of_its_64[20]",
    ),
    Row(
        7, "8 hosts in the /24 of a resolver", "never banned",
        SCENARIO + "hosts_beside_a_protected_address_are_banned_one_by_one[resolver in /etc/resolv.conf]",
    ),
    Row(
        8, "35 SYN/s in an absent admin's name, bastion", "0 of 44 tries in 230 s",
        SCENARIO + "a_trickle_in_the_name_of_an_absent_admin_does_not_close_ssh_to_her[35.0-128]",
    ),
    Row(
        9, "a small incident kept open mutes the pager", "no message of the real attack",
        "tests/scenario/test_alerts.py::test_a_real_attack_inside_a_small_one_is_told",
    ),
    Row(
        10, "8,000 handshakes/s, each over in milliseconds", "not seen",
        SCENARIO + "handshakes_that_are_over_at_once_are_counted_where_they_end",
    ),
    Row(
        11, "SYNs behind IPv6 extension headers", "0 sampled, no ban",
        "tests/netns/test_syn_sampler.py::test_options_and_extension_headers_hide_no_syn",
    ),
    Row(
        12, "SYNs in two fragments, nftables", "every SYN passes a ban",
        "tests/netns/test_plane_packets.py::test_a_ban_stops_what_hides_in_fragments_or_behind_headers[nftables-4-8-0]",
    ),
    Row(
        13, "very many listeners of an unprivileged user", "a tick of 820 ms",
        "tests/unit/test_sock_diag.py::test_of_very_many_listeners_a_tick_looks_at_those_under_pressure",
    ),
    Row(
        14, "banned `all` and gone, places kept", "0 of 610 requests",
        "tests/netns/test_socket_destroy.py"
        "::test_who_is_banned_whole_keeps_no_place_in_a_service_without_a_time_out[ipv4]",
    ),
    Row(
        15, "240 forged addresses close a /16", "180 of 180 newcomers refused",
        SCENARIO + "a_few_forged_addresses_close_no_wide_prefix[240-24.0-10.9.0.0/16]",
    ),
    Row(
        16, "500 hosts behind random forged cover", "0 of 20 networks banned",
        SCENARIO + "random_cover_does_not_hide_prefixes_that_flood",
    ),
    Row(
        17, "a container that listens holds the host's server", "spared, 1,529 places held",
        "tests/netns/test_socket_destroy.py"
        "::test_a_container_of_this_host_keeps_what_it_may_hold_and_is_not_banned[serving]",
    ),
)  # fmt: skip


SLACK: Final = 0.05
"""Share of attempts by which two hosts may differ by chance: some are under way as an attack begins."""


def played(rows: Iterable[Row]) -> dict[str, str]:
    """Return test → what it measured; ``FAILED`` or ``skipped`` where it did not come to that."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        words = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1"]
        subprocess.run([*words, *(row.test for row in rows)], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        cases = ElementTree.parse(report).iter("testcase")  # our own report
        return {f"{case.get('file')}::{case.get('name')}": _measured(case) for case in cases}


def _measured(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "FAILED"
    if case.find("skipped") is not None:
        return "skipped: it needs root"
    found = [one.get("value", "") for one in case.iter("property") if one.get("name") == "now"]
    return found[-1] if found else "as promised"


def replayed(rows: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield for each row what came of it with the agent and without; the two hosts are attacked at the same time."""
    command = [sys.executable, "-m", "tests.support.replays"]
    words = [str(row) for row in rows]
    with etc_netns(), ExitStack() as stack:
        hosts = [
            stack.enter_context(subprocess.Popen([*command, host, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True))
            for host in ("agent", "alone")
        ]
        for _ in rows:
            yield _replay(hosts[0]), _replay(hosts[1])


def _replay(host: subprocess.Popen[str]) -> str:
    line = host.stdout.readline() if host.stdout else ""
    told = json.loads(line or "null")
    if told is None:
        return "FAILED"
    syns = "" if told["syns"] is None else f", {told['syns']:.1%} of SYNs"
    return f"{told['clients']:.0%}{syns}"


def share(cell: str) -> float:
    """Return the share of clients of a cell, -1 where the replay failed."""
    return -1.0 if cell.startswith("FAILED") else float(cell.partition("%")[0]) / 100


def main() -> int:
    """Print the table; return 1 where a row failed, was not played, or clients fare worse than without the agent."""
    rows = [row for row in ROWS if not sys.argv[1:] or str(row.number) in sys.argv[1:]]
    now = played(rows)
    print("#|attack|before|now|clients with the agent|and without".replace("|", "  |  "))
    bad = False
    for row, (agent, alone) in zip(rows, replayed([row.number for row in rows]), strict=True):
        found = now.get(row.test, "FAILED")
        print("  |  ".join([str(row.number), row.attack, row.before, found, agent, alone]), flush=True)
        bad |= found.startswith(("FAILED", "skipped")) or share(agent) < share(alone) - SLACK or share(agent) < 0
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
