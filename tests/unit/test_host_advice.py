"""Advice that can be followed on the host where it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synguard import capabilities
from synguard.doctor import host_checks
from synguard.enforcer.iptables import xtables
from synguard.errors import PlaneUnavailableError
from synguard.policy.models import Config


def test_a_module_is_to_be_loaded_only_where_this_kernel_comes_with_it(tmp_path: Path) -> None:
    """Kernels without legacy xtables were told to load ip_tables."""
    assert xtables.loading("ip_tables ip6_tables", root=tmp_path) == (
        "this kernel was built without it: set plane to auto or nftables"
    )
    there = tmp_path / os.uname().release / "kernel/net"
    there.mkdir(parents=True)
    (there / "ip_tables.ko.xz").touch()
    assert (
        xtables.loading("ip_tables ip6_tables", root=tmp_path) == "load what is missing: modprobe ip_tables ip6_tables"
    )


def test_a_root_that_was_given_less_is_not_sent_to_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert capabilities.how_to_get(["CAP_NET_ADMIN"]).startswith(
        "this root has been given less; add it to the container"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in capabilities.how_to_get(["CAP_NET_ADMIN"])


def test_a_plane_that_was_named_and_is_not_there_is_to_be_left_to_auto() -> None:
    assert "plane = " in host_checks._plane_fix(Config(plane="iptables"))
    assert "apt-get install nftables" in host_checks._plane_fix(Config())
    error = xtables._translate("opening raw", "b'iptables who? (do you need to insmod?)'")
    assert isinstance(error, PlaneUnavailableError)
    assert "no legacy xtables" in str(error)
