"""Advice that can be followed on the host where it is given."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from synguard import capabilities
from synguard.doctor import host_checks
from synguard.enforcer.challenge.obstacles import rule_obstacles
from synguard.enforcer.challenge.ruleset import Ruleset
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


def test_what_is_not_permitted_is_answered_with_what_this_host_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """uid 0 in a container was told to run as root by the checks of challenges, and to install what was there."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(capabilities, "missing_capabilities", lambda: ("CAP_NET_ADMIN",))
    unread = Ruleset((), loose=True, unread="exit code 1")
    assert "--cap-add=NET_ADMIN" in rule_obstacles(unread, (), ())[0].fix
    monkeypatch.setattr(capabilities, "missing_capabilities", lambda: ())
    assert rule_obstacles(unread, (), ())[0].fix.startswith("install the packages")


def test_no_advice_to_become_root_is_given_without_a_look_at_who_asks() -> None:
    """Who may be root already without the capability; files are another matter."""
    home = Path(capabilities.__file__).parent
    said = [
        path
        for path in home.rglob("*.py")
        if re.search(r"CAP_\w+[^\n]*run as root|AmbientCapabilities", path.read_text())
    ]
    assert said == [home / "capabilities.py"]


def test_a_plane_that_was_named_and_is_not_there_is_to_be_left_to_auto() -> None:
    assert "plane = " in host_checks._plane_fix(Config(plane="iptables"))
    assert "apt-get install nftables" in host_checks._plane_fix(Config())
    error = xtables._translate("opening raw", "b'iptables who? (do you need to insmod?)'")
    assert isinstance(error, PlaneUnavailableError)
    assert "no legacy xtables" in str(error)
