"""Counters of the kernel, read from files of its form."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.errors import SensorError
from synguard.sensors.counters import CounterFiles, read_counters

NETSTAT = """TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows TCPReqQFullDrop
TcpExt: 12 3 4 500
IpExt: InNoRoutes InOctets
IpExt: 0 99
MPTcpExt: MPCapableSYNRX
MPTcpExt: 0
"""
SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm MaxConn PassiveOpens
Tcp: 1 -1 77
"""


def proc_net(path: Path, netstat: str = NETSTAT, snmp: str = SNMP) -> Path:
    (path / "netstat").write_text(netstat)
    (path / "snmp").write_text(snmp)
    return path


def test_counters_of_both_files_are_read_without_their_group(tmp_path: Path) -> None:
    reading = read_counters(3.5, proc_net(tmp_path))
    assert reading.at == 3.5
    assert reading.values["SyncookiesSent"] == 12
    assert reading.values["TCPReqQFullDrop"] == 500
    assert reading.values["PassiveOpens"] == 77
    assert reading.values["MaxConn"] == -1
    assert "InOctets" not in reading.values


def test_a_name_that_this_kernel_lacks_is_absent(tmp_path: Path) -> None:
    old = "TcpExt: SyncookiesSent\nTcpExt: 1\n"
    assert "ListenOverflows" not in read_counters(0.0, proc_net(tmp_path, netstat=old)).values


@pytest.mark.parametrize("file", ["netstat", "snmp"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, file: str) -> None:
    (proc_net(tmp_path) / file).unlink()
    with pytest.raises(SensorError, match=f"{file} cannot be read: No such file"):
        read_counters(0.0, tmp_path)


@pytest.mark.parametrize(
    "netstat",
    ["", "TcpExt: A B\n", "TcpExt: A B\nTcpExt: 1\n", "TcpExt: A\nTcpExt: many\n", "TcpExt: Ä\nTcpExt: 1\n"],
)
def test_a_file_of_another_form_is_an_error(tmp_path: Path, netstat: str) -> None:
    with pytest.raises(SensorError, match="netstat cannot be read"):
        read_counters(0.0, proc_net(tmp_path, netstat=netstat))


def test_this_kernel_knows_the_counters_that_matter() -> None:
    wanted = {
        "SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "TCPReqQFullDoCookies", "TCPReqQFullDrop",
        "ListenOverflows", "ListenDrops", "PassiveOpens",
    }  # fmt: skip
    assert wanted <= read_counters(0.0).values.keys()


def test_files_that_stay_open_tell_what_they_hold_now(tmp_path: Path) -> None:
    files = CounterFiles(proc_net(tmp_path))
    assert files.read(1.0) == read_counters(1.0, tmp_path)
    assert files.segments() is files.segments(), "what has not changed is not taken apart again"
    proc_net(tmp_path, NETSTAT.replace("500", "501"), SNMP.replace("77", "78"))
    assert files.read(2.0) == read_counters(2.0, tmp_path)
    assert files.segments()["PassiveOpens"] == 78
    (tmp_path / "snmp").write_text("Tcp: A\n")
    with pytest.raises(SensorError, match="snmp cannot be read"):
        files.segments()
    files.close()
    proc_net(tmp_path)
    assert files.segments()["PassiveOpens"] == 77


def test_a_kernel_that_does_not_count_segments_is_an_error_of_whoever_asks_for_them(tmp_path: Path) -> None:
    files = CounterFiles(proc_net(tmp_path))
    with pytest.raises(SensorError, match="does not count InSegs"):
        files.arrived()
    proc_net(tmp_path, snmp=SNMP.replace("MaxConn", "InSegs").replace("-1", "9"))
    assert files.arrived() == 9
    files.close()
