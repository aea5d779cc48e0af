"""The Debian package from first install to purge, on a fresh Debian with its own systemd; tests go on from each other.

``make deb-check``; ``SUITE=trixie`` builds and tries it on another release than this machine's.
What is not about the package itself has its tests elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synguard import __version__
from tests.support.debian import Debian, why_no_debian
from tests.support.lab.namespaces import REPOSITORY
from tests.support.lab.programs import wait_for
from tests.support.lab.snapshot import differences, firewall_snapshot

pytestmark = [pytest.mark.deb, pytest.mark.timeout(600)]

SUITE = os.environ.get("SUITE", "")
COMMIT = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
NEXT = f"{__version__}+next"
BANNED = "203.0.113.7"
FOR_GOOD = "2001:db8:7::/48"
SHIPPED, EDITED = "#bans_per_minute = 600", "bans_per_minute = 599  # ours"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make deb`` built, or what it builds on another release."""
    return built(tmp_path_factory.mktemp("built") / "root")


def built(root: Path) -> Path:
    into = REPOSITORY / "dist"
    if not SUITE:
        said = subprocess.run([REPOSITORY / ".ci/deb/build"], check=True, capture_output=True, text=True).stdout
        return REPOSITORY / said.split()[-1]
    into.mkdir(exist_ok=True)
    with Debian(root, SUITE, ("ca-certificates", "git")) as debian:
        clone = debian.root / "root/synguard"
        subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
        subprocess.run(["git", "-C", clone, "checkout", "-q", COMMIT], check=True)
        said = debian.run("cd synguard && .ci/system-packages --for-deb && .ci/deb/build", timeout=1200).stdout
        return Path(shutil.copy(clone / said.split()[-1], into))


@pytest.fixture(scope="module")
def host(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A Debian with the package installed as its reader would, then booted; the machine's firewall stays as it was."""
    if trouble := why_no_debian():
        pytest.skip(trouble)
    before = firewall_snapshot(())
    with Debian(tmp_path_factory.mktemp("deb") / "root", SUITE) as debian:
        work = debian.root / "root"
        (work / package.name).write_bytes(package.read_bytes())
        debian.run("apt-get update -qq && apt-get install -qq --no-install-recommends systemd kmod")
        debian.run(f"apt-get install -qq --no-install-recommends /root/{package.name}")
        bumped(package, work)
        debian.boot()
        yield debian
    assert not differences(before, firewall_snapshot(()))


def bumped(package: Path, into: Path) -> None:
    """Write the same package with a later version into a directory."""
    tree = into / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    for name, was in (("DEBIAN/control", "Version: "), ("usr/lib/synguard/synguard/__init__.py", '__version__ = "')):
        path = tree / name
        path.write_text(path.read_text("utf-8").replace(f"{was}{__version__}", f"{was}{NEXT}"), encoding="utf-8")
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, into / "next.deb"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)


def status(host: Debian) -> Any:
    return json.loads(host.run("synguard status --json").stdout)


def runs(host: Debian) -> bool:
    return bool(status(host)["running"])


def state(host: Debian) -> str:
    return host.run("systemctl show synguard --property=ActiveState --value", check=False).stdout.strip()


def in_kernel(host: Debian) -> str:
    """Everything of ours that the kernel holds, on whichever plane."""
    look = "iptables-legacy-save; ip6tables-legacy-save; ipset save; nft list ruleset"
    return host.run(f"({look}) 2>/dev/null | grep -i synguard", check=False).stdout


def test_the_package_is_what_lintian_expects(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_says_for_which_debian_it_is_and_the_next_debian_takes_its_own(host: Debian, package: Path) -> None:
    """Packages for two releases had one name and one version: a repository could hold only one of them."""
    release = host.run('. /etc/os-release && echo "$VERSION_ID"').stdout.strip()
    version = f"{__version__}~deb{release}"
    assert package.name.startswith(f"synguard_{version}_")
    field = ["dpkg-deb", "--field", package, "Version"]
    assert subprocess.run(field, capture_output=True, text=True, check=True).stdout.strip() == version
    for later in (f"{__version__}~deb{int(release) + 1}", __version__, f"{NEXT}~deb{release}"):
        subprocess.run(["dpkg", "--compare-versions", version, "lt", later], check=True)


def test_it_needs_no_more_than_it_declares(host: Debian) -> None:
    assert host.run("synguard --version").stdout == f"synguard {__version__}\n"
    assert host.run("dpkg --audit").stdout == ""
    assert "installed" in host.run("dpkg -s synguard").stdout


def test_a_group_may_read_and_the_timers_wait_to_be_enabled(host: Debian) -> None:
    wait_for(lambda: runs(host), "the agent", 30, every=0.5)
    assert host.run("stat -c '%A %G' /var/lib/synguard /run/synguard").stdout == "drwx--s--- synguard\n" * 2
    assert host.run("stat -c '%A %G' /run/synguard/status.json").stdout == "-rw-r----- synguard\n"
    as_member = "setpriv --reuid nobody --regid nogroup --groups synguard --bounding-set=-all"
    assert json.loads(host.run(f"{as_member} synguard status --json").stdout)["healthy"]
    for timer in ("report", "resolve"):
        assert (host.root / f"lib/systemd/system/synguard-{timer}.timer").exists()
        assert not (host.root / f"etc/systemd/system/timers.target.wants/synguard-{timer}.timer").is_symlink()


def test_what_python_finds_elsewhere_does_not_get_into_it(host: Debian) -> None:
    """The agent is root; whoever may write to a directory on PYTHONPATH is not."""
    host.run("mkdir -p /tmp/trap && echo 'raise SystemExit(7)' >/tmp/trap/typer.py")
    assert host.run("cd /tmp/trap && PYTHONPATH=/tmp/trap synguard --version").stdout == f"synguard {__version__}\n"


def test_systemd_starts_it_at_boot_and_it_is_in_dry_run(host: Debian) -> None:
    wait_for(lambda: runs(host), "the agent", 30, every=0.5)
    assert state(host) == "active"
    told = status(host)
    assert (told["mode"], told["healthy"]) == ("dry-run", True), told["problems"]


def test_the_doctor_finds_nothing_bad(host: Debian) -> None:
    findings = json.loads(host.run("synguard doctor --json", check=False).stdout)["findings"]
    assert [one for one in findings if one["level"] == "bad"] == []


def test_bans_by_hand_reach_the_kernel(host: Debian) -> None:
    host.run(f"synguard ban {BANNED} --for 1h --yes && synguard ban {FOR_GOOD} --for permanent --yes")
    held = {ban["target"]: ban["in_kernel"] for ban in json.loads(host.run("synguard bans --json").stdout)}
    assert held == {BANNED: True, FOR_GOOD: True}
    assert BANNED in in_kernel(host)


def test_an_upgrade_keeps_bans_without_a_gap_and_edits_of_the_config(host: Debian) -> None:
    config = host.root / "etc/synguard/synguard.toml"
    config.write_text(config.read_text("utf-8").replace(SHIPPED, EDITED), encoding="utf-8")
    before = status(host)["pid"]
    host.run(
        "rm -f /tmp/gaps /tmp/looks; touch /tmp/go; (while [ -e /tmp/go ]; do "
        f"(ipset list synguard-all-drop-4 || nft list table inet synguard) | grep -qF {BANNED} || echo >>/tmp/gaps; "
        "echo >>/tmp/looks; done) >/dev/null 2>&1 &"
    )
    host.run("dpkg -i /root/next.deb")
    host.run("rm /tmp/go")
    assert host.run("synguard --version").stdout == f"synguard {NEXT}\n"
    wait_for(lambda: runs(host) and status(host)["pid"] != before, "the new agent", 30, every=0.5)
    assert not (host.root / "tmp/gaps").exists()
    assert len((host.root / "tmp/looks").read_text()) > 20
    assert EDITED in config.read_text("utf-8")
    assert state(host) == "active"


def test_pages_and_completions_lie_where_debian_looks(host: Debian) -> None:
    listed = set(host.run("dpkg -L synguard").stdout.split())
    assert listed >= {
        "/usr/share/man/man8/synguard-ban.8.gz",
        "/usr/share/man/man5/synguard.toml.5.gz",
        "/usr/share/bash-completion/completions/synguard",
        "/usr/share/zsh/vendor-completions/_synguard",
        "/usr/share/fish/vendor_completions.d/synguard.fish",
        "/usr/share/doc/synguard/operations.md",
        "/usr/share/doc/synguard/examples/allow.txt.example",
    }
    unit = (host.root / "lib/systemd/system/synguard.service").read_text("utf-8")
    [page] = re.findall(r"^Documentation=file:(\S+)$", unit, re.MULTILINE)
    assert page in listed
    assert host.run("synguard completion --targets").stdout.split() == [FOR_GOOD, BANNED]


def test_removal_stops_the_agent_and_lets_bans_expire(host: Debian) -> None:
    said = host.run("dpkg -r synguard").stdout
    assert "permanent ones stay until a reboot" in said
    assert state(host) in ("inactive", "")
    assert BANNED in in_kernel(host)
    assert (host.root / "etc/synguard/synguard.toml").exists()
    assert (host.root / "var/lib/synguard/ledger.db").exists()
    assert not (host.root / "usr/lib/synguard").exists()


def test_a_purge_leaves_nothing(host: Debian) -> None:
    host.run("dpkg -P synguard")
    assert in_kernel(host) == ""
    left = host.run("find / -xdev -iname '*synguard*' -not -path '/root/*' -not -path '/tmp/*'").stdout
    assert left == ""
    assert host.run("ls /run/synguard", check=False).returncode != 0


def test_purging_twice_or_without_what_it_needs_fails_nothing(host: Debian) -> None:
    script = host.root / "root/tree/DEBIAN/postrm"
    assert script.exists()
    host.run("sh -e /root/tree/DEBIAN/postrm purge")
    host.run("PATH=/usr/bin:/bin sh -e /root/tree/DEBIAN/postrm purge")


def test_installed_anew_it_is_started_by_the_package_itself_and_is_in_dry_run(host: Debian) -> None:
    host.run("dpkg -i /root/next.deb")
    wait_for(lambda: runs(host), "the agent", 30, every=0.5)
    assert status(host)["mode"] == "dry-run"
    assert in_kernel(host) == ""


def test_a_faulty_config_does_not_hold_up_an_upgrade_or_a_removal(host: Debian, package: Path) -> None:
    (host.root / "etc/synguard/synguard.toml").write_text("mode = 7\n")
    host.run("systemctl stop synguard; dpkg -i /root/next.deb")
    assert not runs_at_all(host)
    host.run("dpkg -P synguard")
    assert not (host.root / "etc/synguard").exists()


def runs_at_all(host: Debian) -> bool:
    return host.run("pgrep -f 'synguard run'", check=False).returncode == 0


def test_two_builds_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    first = package.read_bytes()
    assert built(tmp_path / "root").read_bytes() == first
