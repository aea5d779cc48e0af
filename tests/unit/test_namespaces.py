"""What namespaces are called, and how a walk over processes is bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synguard.errors import SensorError
from synguard.sensors.namespaces import Sighting, Walk, container_of

ID = "1a2b3c4d5e6f" + "0" * 52


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker 1a2b3c4d5e6f"),
        (f"12:memory:/docker/{ID}", "docker 1a2b3c4d5e6f"),
        (f"0::/machine.slice/libpod-{ID}.scope/container", "podman 1a2b3c4d5e6f"),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "cri-containerd 1a2b3c4d5e6f"),
        (f"0::/kubepods/burstable/pod1/{ID}", "kubepods 1a2b3c4d5e6f"),
        ("0::/lxc.payload.web/init.scope", "lxc web"),
        ("0::/system.slice/nginx.service", ""),
        ("0::/user.slice/user-1000.slice/session-2.scope", ""),
    ],
)
def test_a_container_is_called_by_its_engine_and_short_id(tmp_path: Path, cgroup: str, name: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(f"{cgroup}\n")
    assert container_of(7, tmp_path) == name


def test_a_process_that_is_gone_is_in_no_container(tmp_path: Path) -> None:
    assert container_of(7, tmp_path) == ""


def test_a_walk_passes_over_our_own_namespace_and_names_that_nothing_is_mounted_on(tmp_path: Path) -> None:
    (tmp_path / "stale").touch()
    processes = tmp_path / "proc"
    (processes / "7" / "ns").mkdir(parents=True)
    (processes / "7" / "ns" / "net").symlink_to("/proc/self/ns/net")
    (processes / "8").mkdir()
    assert list(Walk(tmp_path, processes).sightings()) == []


def test_a_witness_that_leads_elsewhere_no_longer_stands(tmp_path: Path) -> None:
    witness = tmp_path / "net"
    witness.touch()
    seen = Sighting(os.stat(witness).st_ino, str(witness))
    assert seen.stands()
    other = Sighting(seen.inode + 1, str(witness))
    assert not other.stands()
    with pytest.raises(SensorError, match="is another one by now"):
        other.open()
    witness.unlink()
    assert not seen.stands()
    with pytest.raises(SensorError, match="cannot be opened"):
        seen.open()
