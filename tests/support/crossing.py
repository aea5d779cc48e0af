"""From one set of wishes to another in a real kernel, interrupted on the way: who is stopped meanwhile, who is not.

The peer's addresses stand for people: 2 is nobody's business throughout, 5 is protected and lives in a banned prefix (4
to 7), of which 6 becomes protected on the way; 3 is banned at first, and 8 afterwards.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from synguard.enforcer.plane import Desired, Plane
from synguard.model import Action, Scope
from tests.support.bans import ban, wanted
from tests.support.firewall_net import FirewallNet, source

PREFIX: Final = {4: "10.7.0.4/30", 6: "fd07::4/126"}
INNOCENT, FREED, BANNED, IN_PREFIX, PROTECTED, BECOMES_PROTECTED = 2, 3, 8, 4, 5, 6
FAMILIES: Final = (4, 6)


def before() -> Desired:
    """Return the wishes at first."""
    bans = [ban(f"prefix-{f}", PREFIX[f], Scope.ALL) for f in FAMILIES]
    bans += [ban(f"freed-{f}", source(f, FREED), ports=(80, 443)) for f in FAMILIES]
    return wanted(*bans, allow=tuple(source(f, PROTECTED) for f in FAMILIES))


def after() -> Desired:
    """Return the wishes afterwards: bans gone, new, and of another action; one more party protected."""
    bans = [ban(f"answered-{f}", PREFIX[f], Scope.ALL, Action.REJECT, seconds=1200) for f in FAMILIES]
    bans += [ban(f"banned-{f}", source(f, BANNED)) for f in FAMILIES]
    return wanted(*bans, allow=tuple(source(f, n) for f in FAMILIES for n in (PROTECTED, BECOMES_PROTECTED)))


def assert_nobody_innocent_is_stopped(net: FirewallNet) -> None:
    """Assert that whoever no wish ever named gets through, and whoever is protected throughout."""
    for family in FAMILIES:
        for number in (INNOCENT, PROTECTED):
            assert net.reaches(family, number), f"{source(family, number)} is stopped"


def assert_afterwards(net: FirewallNet) -> None:
    """Assert that packets fare as the wishes afterwards say."""
    assert_nobody_innocent_is_stopped(net)
    for family in FAMILIES:
        assert net.reaches(family, FREED)
        assert net.reaches(family, BECOMES_PROTECTED)
        assert net.stopped(family, BANNED)
        assert net.stopped(family, IN_PREFIX)  # a neighbour whose NAs are stopped too is answered only while known
    assert net.refused(4, IN_PREFIX)


BARE = re.compile(r"-A SYNGUARD .*-j (?:DROP|SYNGUARD-REJECT)")


def blocks_without_an_end(net: FirewallNet) -> list[str]:
    """Return every rule and member of ours in the kernel that stops packets and that the kernel would never end."""
    rules = net.host.sh("iptables-legacy-save; ip6tables-legacy-save").splitlines()
    endless = [one for one in rules if BARE.match(one) and "--match-set" not in one and "--datestop" not in one]
    for line in net.host.sh("ipset save").splitlines():
        if re.match(r"add synguard-\w+-(drop|reject)-\d ", line) and not re.search(r" timeout [1-9]", line):
            endless.append(line)
    name = ""
    for line in net.host.sh("nft -n list ruleset").splitlines():
        if found := re.match(r"\tset (\S+) ", line):
            name = found[1]
        elif re.search(r"-(drop|reject)-", name) and "comment" in line and " ban " in line:
            endless += [one for one in line.split("synguard ban")[:-1] if "timeout" not in one]
    return endless


def forget(plane: Plane, directory: Path) -> None:
    """Take everything of ours out of the kernel and off the disk."""
    plane.flush()
    for file in directory.glob("ledger.db*"):
        file.unlink()
