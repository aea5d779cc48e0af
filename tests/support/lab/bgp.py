"""Real BGP speakers: the host's ExaBGP or GoBGP, and the networks upstream, GoBGP and BIRD, each in a namespace."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from types import TracebackType
from typing import Final

from tests.support.lab.namespaces import LabError, Namespace, new_prefix, new_workdir
from tests.support.lab.programs import Program, wait_for

HOST4: Final = "10.9.0.1"
GOBGP4: Final = "10.9.0.2"
BIRD4: Final = "10.9.0.3"

_GOBGP: Final = """\
[global.config]
  as = {asn}
  router-id = "{address}"
  port = 179
  local-address-list = ["{address}"]
{neighbors}"""
_GOBGP_NEIGHBOR: Final = """\
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = {asn}
  [neighbors.transport.config]
    passive-mode = {passive}
"""
_GOBGP_FAMILY: Final = """\
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
    afi-safi-name = "{family}"
"""
_FAMILIES: Final = ("ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec")
_BIRD: Final = """\
router id {address};
flow4 table flows4;
flow6 table flows6;
ipv4 table holes4;
protocol device {{}}
protocol bgp host {{
  local {address} as 65003;
  neighbor {host} as 65001;
  passive on;
  ipv4 {{ table holes4; import all; export none; }};
  flow4 {{ table flows4; import all; export none; }};
  flow6 {{ table flows6; import all; export none; }};
}}
"""
_EXABGP: Final = """\
neighbor {peer} {{
  router-id {host};
  local-address {host};
  local-as 65001;
  peer-as {asn};
  family {{ ipv4 unicast; ipv6 unicast; ipv4 flow; ipv6 flow; }}
}}
"""


def _gobgp_config(address: str, asn: int, peers: dict[str, int], *, passive: bool) -> str:
    neighbors = "".join(
        _GOBGP_NEIGHBOR.format(address=peer, asn=peer_as, passive=str(passive).lower())
        + "".join(_GOBGP_FAMILY.format(family=family) for family in _FAMILIES)
        for peer, peer_as in peers.items()
    )
    return _GOBGP.format(asn=asn, address=address, neighbors=neighbors)


class BgpNetwork:
    """A host and two networks upstream of it, on one bridge, with real speakers; all gone on exit."""

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self._held = ExitStack()
        prefix = new_prefix()
        self.host, self.gobgp, self.bird, self._switch = (
            Namespace(f"{prefix}-{name}") for name in ("host", "gobgp", "bird", "switch")
        )

    def __enter__(self) -> BgpNetwork:
        try:
            self._build()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def place(self) -> str:
        """What the feeder is given to find the speaker."""
        return str(self.workdir / "run/exabgp.in") if self.speaker == "exabgp" else "gobgp"

    def routes_of_gobgp(self) -> str:
        """Return what the GoBGP upstream holds, as it prints it."""
        tables = [self.gobgp.run(["gobgp", "global", "rib", "-a", family]) for family in _SHOWN]
        return "\n".join(tables)

    def routes_of_bird(self) -> str:
        """Return what the BIRD upstream holds, as it prints it."""
        return self.bird.run(["birdc", "-s", str(self.workdir / "bird.ctl"), "show", "route", "all", "table", "all"])

    def stop_speaker(self) -> None:
        """Kill the host's speaker."""
        self._speaker.kill_if_running()

    def start_speaker(self) -> None:
        """Start the host's speaker and wait for both sessions."""
        home = self.workdir
        if self.speaker == "exabgp":
            says = subprocess.run(["exabgp", "--help"], capture_output=True, text=True, check=True).stdout
            version_4 = ("--root", str(home)) if "--root" in says else ()
            command = [
                *("env", "exabgp.api.cli=true", "exabgp.api.pipename=exabgp", "exabgp.daemon.user=root"),
                *("exabgp.log.destination=stdout", "exabgp.log.all=false", f"EXABGP_ROOT={home}"),
                *("exabgp", *version_4, str(home / "exabgp.conf")),
            ]
        else:
            command = ["gobgpd", "-f", str(home / "host.toml")]
        self._speaker = Program(self.host, command, home, "speaker")
        wait_for(self._sessions_up, "both BGP sessions", 60, every=0.2)

    def _sessions_up(self) -> bool:
        if not self._speaker.running:
            raise LabError(f"the speaker ended: {self._speaker.stderr[-1000:]}")
        control = str(self.workdir / "bird.ctl")
        bird = self.bird.run(["birdc", "-s", control, "show", "protocols"])
        gobgp = self.gobgp.run(["gobgp", "neighbor"])
        return "Established" in bird and "Establ" in gobgp

    def _build(self) -> None:
        self.workdir = new_workdir()
        home = self.workdir
        for namespace in (self._switch, self.host, self.gobgp, self.bird):
            namespace.add()
            self._held.callback(namespace.remove_if_present)
        self._switch.ip(["link add br0 type bridge", "link set br0 up"])
        wired = ((self.host, HOST4), (self.gobgp, GOBGP4), (self.bird, BIRD4))
        for number, (namespace, address) in enumerate(wired):
            self._switch.ip(
                [
                    f"link add port{number} type veth peer name eth0 netns {namespace.name}",
                    f"link set port{number} master br0 up",
                ]
            )
            namespace.ip([f"addr add {address}/24 dev eth0", "link set eth0 up"])
        (home / "run").mkdir()
        for name in ("exabgp.in", "exabgp.out"):
            os.mkfifo(home / "run" / name, 0o600)
        peers = {GOBGP4: 65002, BIRD4: 65003}
        (home / "exabgp.conf").write_text(
            "".join(_EXABGP.format(peer=peer, host=HOST4, asn=asn) for peer, asn in peers.items())
        )
        (home / "host.toml").write_text(_gobgp_config(HOST4, 65001, peers, passive=False))
        (home / "gobgp.toml").write_text(_gobgp_config(GOBGP4, 65002, {HOST4: 65001}, passive=True))
        (home / "bird.conf").write_text(_BIRD.format(address=BIRD4, host=HOST4))
        upstream = [
            Program(self.gobgp, ["gobgpd", "-f", str(home / "gobgp.toml")], home, "gobgp"),
            Program(
                self.bird,
                [
                    "bird",
                    "-f",
                    "-c",
                    str(home / "bird.conf"),
                    "-s",
                    str(home / "bird.ctl"),
                    "-P",
                    str(home / "bird.pid"),
                ],
                home,
                "bird",
            ),
        ]
        for program in upstream:
            self._held.callback(program.kill_if_running)
        wait_for(lambda: (home / "bird.ctl").exists(), "BIRD")
        self.start_speaker()
        self._held.callback(self.stop_speaker)


_SHOWN: Final = ("ipv4", "ipv4-flowspec", "ipv6-flowspec")
