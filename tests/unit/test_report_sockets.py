"""Views on a socket table: counted, ordered, limited."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest

from synguard.output.tables import Column
from synguard.readings import Listener
from synguard.report.connections import ConnectionsQuery, answer, answer_lines, answer_shape, table_lines
from synguard.report.group_by import By
from synguard.report.listeners import loads
from synguard.report.socket_names import groups_shape, state_named
from synguard.report.sockets import Groups, SocketView, chosen, grouped, socket_view
from synguard.socket_table import SocketTable, TcpState
from tests.support.manual_clock import ManualClock

Row = tuple[str, str, int, str, int]
"""State, local address and port, remote address and port."""

WEB = Listener(IPv4Address("0.0.0.0"), 80, 128, 0, "nginx[10]")
SSH = Listener(IPv6Address("::"), 22, 64, 0, "")


def table(*rows: Row) -> SocketTable:
    def halves(at: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        values = [ip_address(str(row[at])) for row in rows]
        numbers = [int(value) | (0xFFFF << 32 if value.version == 4 else 0) for value in values]
        return np.array([n >> 64 for n in numbers], np.uint64), np.array([n & 2**64 - 1 for n in numbers], np.uint64)

    zeros = np.zeros(len(rows), np.uint32)
    local_high, local_low = halves(1)
    remote_high, remote_low = halves(3)
    return SocketTable(
        state=np.array([TcpState[row[0]] for row in rows], np.uint8),
        local_high=local_high,
        local_low=local_low,
        local_port=np.array([row[2] for row in rows], np.uint16),
        remote_high=remote_high,
        remote_low=remote_low,
        remote_port=np.array([row[4] for row in rows], np.uint16),
        recv_queue=zeros,
        send_queue=zeros,
        cookie=np.zeros(len(rows), np.uint64),
    )


def to_web(remote: str, state: str = "ESTABLISHED", times: int = 1, port: int = 80) -> list[Row]:
    return [(state, "192.0.2.1" if ":" not in remote else "2001:db8::1", port, remote, 1000 + n) for n in range(times)]


def counted(groups: Groups) -> dict[str, int]:
    return {row.key: row.sockets for row in groups.rows}


def see(*rows: Row, udp: SocketTable | None = None) -> SocketView:
    return socket_view(table(*rows), udp, (WEB, SSH))


def ask(seen: SocketView, by: By, limit: int = 0, **filters: object) -> Groups:
    question = ConnectionsQuery(by=by, limit=limit, **filters)  # type: ignore[arg-type]
    return answer(question, seen).sections["groups"]


def test_sources_are_sorted_by_count_then_by_address() -> None:
    seen = see(*to_web("203.0.113.9", times=2), *to_web("203.0.113.10", times=2), *to_web("198.51.100.1", times=3))
    rows = ask(seen, By.SOURCE).rows
    assert [(row.key, row.sockets) for row in rows] == [
        ("198.51.100.1", 3),
        ("203.0.113.9", 2),
        ("203.0.113.10", 2),
    ]


def test_states_are_told_apart_within_a_source() -> None:
    seen = see(
        *to_web("203.0.113.9", "SYN_RECV", 4),
        *to_web("203.0.113.9", "ESTABLISHED", 3),
        *to_web("203.0.113.9", "TIME_WAIT", 2),
        *to_web("203.0.113.9", "CLOSE_WAIT", 1),
    )
    (row,) = ask(seen, By.SOURCE).rows
    assert (row.sockets, row.half_open, row.established, row.time_wait, row.other) == (10, 4, 3, 2, 1)


def test_outgoing_connections_have_a_remote_but_no_source() -> None:
    seen = see(("ESTABLISHED", "192.0.2.1", 40000, "198.51.100.9", 443), *to_web("203.0.113.9"))
    assert counted(ask(seen, By.SOURCE)) == {"203.0.113.9": 1}
    assert counted(ask(seen, By.REMOTE)) == {"198.51.100.9": 1, "203.0.113.9": 1}


def test_prefixes_of_both_families_have_their_own_length() -> None:
    seen = see(
        *to_web("203.0.113.9"),
        *to_web("203.0.113.200", times=2),
        *to_web("203.0.112.1"),
        *to_web("2001:db8:7:1::1"),
        *to_web("2001:db8:7:2::1"),
        *to_web("64:ff9b::203.0.113.9"),
        *to_web("64:ff9b::198.51.100.9"),
    )
    groups = ask(seen, By.PREFIX)
    translated = {"64:ff9b::c633:6400/120": 1, "64:ff9b::cb00:7100/120": 1}
    assert counted(groups) == {"203.0.113.0/24": 3, "2001:db8:7::/48": 2, "203.0.112.0/24": 1} | translated
    assert {row.key: row.sources for row in groups.rows}["203.0.113.0/24"] == 2
    assert counted(ask(seen, By.PREFIX, lengths=(16, 64))) == {
        "203.0.0.0/16": 4,
        "2001:db8:7:1::/64": 1,
        "2001:db8:7:2::/64": 1,
        "64:ff9b::c633:0/112": 1,
        "64:ff9b::cb00:0/112": 1,
    }


def test_a_limit_says_what_it_leaves_out() -> None:
    seen = see(*(row for n in range(30) for row in to_web(f"203.0.113.{n}", times=1 + (n == 7))))
    groups = ask(seen, By.SOURCE, limit=3)
    assert (len(groups.rows), groups.left_out, groups.sockets_left_out) == (3, 27, 27)
    assert groups.rows[0].key == "203.0.113.7"
    lines = list(answer_lines(answer(ConnectionsQuery(by=By.SOURCE, limit=3), seen), 80))
    assert lines[-1] == "27 more sources hold 27 sockets; --limit 0 shows all"


def test_ports_and_states_filter() -> None:
    seen = see(*to_web("203.0.113.9", "SYN_RECV"), *to_web("203.0.113.9", port=22), *to_web("203.0.113.8"))
    assert counted(ask(seen, By.SOURCE, ports=(range(20, 23),))) == {"203.0.113.9": 1}
    assert counted(ask(seen, By.SOURCE, states=frozenset({TcpState.SYN_RECV}))) == {"203.0.113.9": 1}
    assert counted(ask(seen, By.PORT)) == {"80": 2, "22": 1}
    assert counted(ask(seen, By.STATE)) == {"ESTABLISHED": 2, "SYN_RECV": 1}


def test_ports_and_processes_name_who_listens() -> None:
    seen = see(*to_web("203.0.113.9", times=2), *to_web("203.0.113.9", port=22))
    assert {row.key: row.process for row in ask(seen, By.PORT).rows} == {"80": "nginx[10]", "22": ""}
    assert counted(ask(seen, By.PROCESS)) == {"nginx[10]": 2, "-": 1}
    assert [row["process"] for row in groups_shape(ask(seen, By.PROCESS))["rows"]] == ["nginx[10]", ""]


def test_udp_is_counted_apart_and_an_unconnected_socket_has_no_source() -> None:
    udp = table(
        ("CLOSE", "0.0.0.0", 53, "0.0.0.0", 0),
        ("ESTABLISHED", "192.0.2.1", 53, "203.0.113.9", 999),
        ("ESTABLISHED", "192.0.2.1", 40000, "198.51.100.1", 53),
    )
    seen = see(*to_web("203.0.113.9"), udp=udp)
    (row,) = ask(seen, By.SOURCE).rows
    assert (row.key, row.sockets, row.established, row.udp) == ("203.0.113.9", 2, 1, 1)
    assert counted(ask(seen, By.REMOTE)) == {"203.0.113.9": 2, "198.51.100.1": 1}
    assert counted(ask(seen, By.STATE)) == {"UDP connected": 2, "ESTABLISHED": 1, "UDP open": 1}


def test_an_empty_table_has_no_groups() -> None:
    for by in By:
        groups = ask(see(), by)
        assert (groups.rows, groups.groups, groups.total.sockets) == ((), 0, 0)
        assert next(answer_lines(answer(ConnectionsQuery(by=by), see()), 80)).startswith("no sockets")


def test_counts_of_a_random_table_add_up() -> None:
    rng = np.random.default_rng(7)
    rows: list[Row] = []
    for _ in range(500):
        rows += to_web(f"203.0.{rng.integers(0, 4)}.{rng.integers(0, 30)}", rng.choice(["SYN_RECV", "ESTABLISHED"]))
    for by in By:
        groups = grouped(chosen(see(*rows), by, (), ()), by, 0)
        assert sum(row.sockets for row in groups.rows) == groups.total.sockets == 500
        assert all(row.half_open + row.established == row.sockets for row in groups.rows)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SYN_RECV", TcpState.SYN_RECV),
        ("syn-recv", TcpState.SYN_RECV),
        ("SYN_RECEIVED", TcpState.SYN_RECV),
        ("estab", TcpState.ESTABLISHED),
        ("fin-wait-1", TcpState.FIN_WAIT1),
        ("FIN_WAIT2", TcpState.FIN_WAIT2),
        ("Time-Wait", TcpState.TIME_WAIT),
        ("listening", TcpState.LISTEN),
        ("unconn", TcpState.CLOSE),
    ],
)
def test_states_are_known_by_any_usual_spelling(word: str, state: TcpState) -> None:
    assert state_named(word) is state


def test_a_mistyped_state_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'"SYN_REC" is not a TCP state; did you mean SYN_RECV\?'):
        state_named("SYN_REC")
    with pytest.raises(ValueError, match="write one of ESTABLISHED, SYN_SENT"):
        state_named("💥")


def test_half_open_sockets_belong_to_the_most_particular_listener() -> None:
    listeners = (
        Listener(IPv6Address("::"), 80, 100, 0),
        Listener(IPv4Address("192.0.2.1"), 80, 10, 5, "one[1]"),
        Listener(IPv4Address("192.0.2.1"), 80, 10, 0, "one[2]"),
    )
    rows = [*to_web("203.0.113.9", "SYN_RECV", 4), *to_web("2001:db8:7::1", "SYN_RECV", 3)]
    rows += [("SYN_RECV", "192.0.2.2", 80, "203.0.113.9", 5)]
    by_address = {str(load.address): load for load in loads(listeners, table(*rows))}
    assert by_address["192.0.2.1"].half_open == 4
    assert by_address["192.0.2.1"].half_open_fill == 0.2, "two sockets share the port"
    assert by_address["192.0.2.1"].accept_fill == 0.25
    assert by_address["::"].half_open == 4, "IPv6, and IPv4 to the address that nobody else takes"


def test_the_fullest_listener_comes_first() -> None:
    found = loads((WEB, SSH), table(*to_web("203.0.113.9", "SYN_RECV", 3, port=22)))
    assert [load.port for load in found] == [22, 80]


def test_a_glance_shows_states_top_sources_and_listeners() -> None:
    seen = see(*to_web("203.0.113.9", "SYN_RECV", 4), *to_web("198.51.100.1"))
    found = answer(ConnectionsQuery(), seen)
    text = "\n".join(answer_lines(found, 80))
    assert "half-open by source: 4 from 1 source\n" in text
    assert "established by source: 1 from 1 source\n" in text
    assert "0.0.0.0:80" in text
    shape = answer_shape(found, ManualClock().utcnow(), "sock_diag")
    assert list(shape) == [
        "at", "read_by", "states", "half_open", "half_open_by_prefix", "established", "listeners", "listeners_left_out",
    ]  # fmt: skip
    assert shape["half_open"]["rows"][0]["source"] == "203.0.113.9"


def test_json_rows_have_the_same_keys_whatever_is_found() -> None:
    seen = see(*to_web("203.0.113.9"))
    shape = answer_shape(answer(ConnectionsQuery(by=By.PORT), seen), ManualClock().utcnow(), "psutil")
    assert shape["rows"] == [
        {
            "port": 80,
            "sockets": 1,
            "half_open": 0,
            "established": 1,
            "time_wait": 0,
            "other": 0,
            "udp": 0,
            "sources": 1,
            "process": "nginx[10]",
        }
    ]
    assert shape["left_out"] == {"groups": 0, "sockets": 0}
    assert shape["totals"]["sockets"] == 1


def test_a_narrow_terminal_loses_the_least_needed_columns_first() -> None:
    columns = [Column("KEY"), Column("A", "right", 1), Column("B", "right", 2)]
    assert next(table_lines(columns, [("k", "1", "2")], 80)) == "KEY  A  B"
    assert next(table_lines(columns, [("k", "1", "2")], 7)) == "KEY  A"
    assert next(table_lines(columns, [("k", "1", "2")], 2)) == "KEY"


def test_a_process_name_cannot_command_the_terminal() -> None:
    evil = Listener(IPv4Address("0.0.0.0"), 80, 1, 0, "\x1b]0;owned\x07[9]")
    lines = list(answer_lines(answer(ConnectionsQuery(listening=True), socket_view(table(), None, (evil,))), 200))
    assert all(line.isprintable() for line in lines)
