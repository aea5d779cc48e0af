"""A container on the lab's victim: a namespace behind a bridge, with a port of the victim's that leads to it."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from tests.support.lab.lab import Lab, Meter
from tests.support.lab.namespaces import Namespace
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import UPLINK, Victim
from tests.support.lab.warm import lab_program
from tests.support.lab.webserver import start_nginx

PUBLISHED: Final = 8080
INNER: Final = 80
BRIDGE: Final = "br0"
GATEWAY4: Final = "172.31.0.1"
INNER4: Final = "172.31.0.2"


class Container:
    """Wired as Docker does it: veth, bridge, DNAT in the victim's nat table. A context manager, inside the lab's."""

    def __init__(self, lab: Lab, tuning: Victim | None = None, nat: str = "iptables-legacy") -> None:
        self._lab = lab
        self._tuning = tuning or Victim()
        self._nat = nat
        self.namespace = Namespace(lab.victim.name.removesuffix("victim") + "inner")

    def __enter__(self) -> Container:
        try:
            self._build()
        except BaseException:
            self.namespace.remove_if_present()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.namespace.remove_if_present()

    def serve(self) -> Program:
        """Start nginx in the container; return once it listens."""
        workdir = self._lab.workdir / "inner"
        workdir.mkdir()
        return self._lab.keep(start_nginx(self.namespace, workdir, (INNER,), self._tuning))

    def start_meter(self) -> Meter:
        """Start counting what the attackers offer and what reaches TCP in the container."""
        command = lab_program("meter", str(self._lab.router.path))
        meter = self._lab.keep(Meter(self.namespace, command, self._lab.workdir, "inner-meter"))
        wait_for(meter.lines, "the meter's first sample")
        return meter

    def _build(self) -> None:
        victim, inner = self._lab.victim, self.namespace
        inner.add()
        inner.sysctl(self._tuning.sysctls())
        victim.sysctl({"net.ipv4.ip_forward": 1})
        victim.ip(
            [
                f"link add {BRIDGE} type bridge",
                f"addr add {GATEWAY4}/24 dev {BRIDGE}",
                f"link set {BRIDGE} up",
                f"link add inner0 type veth peer name {UPLINK} netns {inner.name}",
                f"link set inner0 master {BRIDGE} up",
            ]
        )
        inner.ip([f"addr add {INNER4}/24 dev {UPLINK}", f"link set {UPLINK} up", f"route add default via {GATEWAY4}"])
        self._publish()

    def _publish(self) -> None:
        if self._nat == "nft":
            chain = "type nat hook prerouting priority dstnat;"
            rule = f"iif {UPLINK} tcp dport {PUBLISHED} dnat to {INNER4}:{INNER}"
            self._lab.victim.nft(f"table ip published {{ chain prerouting {{ {chain}\n{rule}\n}}\n}}\n")
            return
        match = ["-i", UPLINK, "-p", "tcp", "--dport", str(PUBLISHED)]
        to = ["-j", "DNAT", "--to-destination", f"{INNER4}:{INNER}"]
        self._lab.victim.run([self._nat, "-t", "nat", "-A", "PREROUTING", *match, *to])
