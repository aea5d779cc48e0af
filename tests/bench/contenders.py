"""What watches a host in the bench of peers: each tool set up as its users set it up, on a throw-away host of its own.

Whatever a tool tells its operator ends up in a file; a line counts from the moment when it stands there. What it has
banned is asked of the tool, and who takes the ban out again of the kernel.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from tests.support.sandbox import Sandbox

LAYER: Final = Path(sys.executable).parents[1] / "peers"
"""Where ``.ci/unpack-peers`` puts the packages."""
LOGGED: Final = "-p tcp --syn -m limit --limit 50/s --limit-burst 100 -j NFLOG --nflog-group 1"
_ULOGD: Final = """\
[global]
logfile="/var/log/ulogd.log"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_inppkt_NFLOG.so"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_raw2packet_BASE.so"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_filter_IFINDEX.so"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_filter_IP2STR.so"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_filter_PRINTPKT.so"
plugin="/usr/lib/x86_64-linux-gnu/ulogd/ulogd_output_LOGEMU.so"
stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,print1:PRINTPKT,emu1:LOGEMU
[log1]
group=1
[emu1]
file="/var/log/kern.log"
sync=1
"""
"""A network namespace has no kernel log: ulogd writes the same lines from the same rule, with NFLOG for LOG."""


class Contender:
    """A tool on a host; this one is no tool at all."""

    name: ClassVar[str] = "nothing"
    how: ClassVar[str] = "nobody watches"
    said_in: ClassVar[tuple[str, ...]] = ()
    layer: ClassVar[bool] = False
    lasts: ClassVar[str] = "-"
    """How long a ban of it lasts."""

    def __init__(self, box: Sandbox, logs: Path) -> None:
        self.box, self._logs = box, logs
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Set it up and start it."""

    def ready(self) -> bool:
        """Return whether it watches by now."""
        return True

    def told(self, line: str) -> str:
        """Return what a line of its files tells an operator of an attack; empty where nothing."""
        return line

    def banned(self) -> set[str]:
        """Return the addresses and prefixes that it bans now."""
        return set()

    def ended_by(self) -> str:
        """Return who takes its bans out again, as the kernel shows them."""
        return "-"

    def files(self) -> Iterable[Path]:
        """Return the files that it writes for its operator, from outside."""
        return [self.box.path(one) for one in self.said_in]

    def run(self, line: str) -> str:
        """Run a line of shell on its host and return what it printed; any exit code will do."""
        return self.box.run(line, timeout=30).output

    def spawn(self, line: str) -> Path:
        """Start a program on its host and return the file that it writes to."""
        log = self._logs / f"{self.name.replace(' ', '-')}-{len(self._running)}.log"
        self._running.append(self.box.start(line, log))
        return log

    def _log_syns(self, prefix: str) -> None:
        self.box.write("/etc/ulogd.conf", _ULOGD)
        self.spawn("ulogd -c /etc/ulogd.conf")
        self.run(f"iptables -A INPUT {LOGGED} --nflog-prefix '{prefix}'; touch /var/log/kern.log")


class Netstat(Contender):
    """A person who types the pipeline of the field every five seconds, and does not act yet."""

    name = "netstat"
    how = "`netstat -nt | grep SYN_REC`, counted by source, every 5 s; a person reads it"
    said_in = ("/var/log/typed",)
    _PIPELINE: Final = (
        "netstat -nt | grep -c SYN_REC | sed 's/$/ in SYN_RECV/';"
        " netstat -nt | grep -v LISTEN | awk '/^tcp/ {print $5}' | cut -d: -f1 | sort | uniq -c | sort -nr | head -1"
    )

    def start(self) -> None:
        self.spawn(f'sh -c "while :; do sleep 5; {self._PIPELINE.replace("$", chr(92) + "$")}; done > /var/log/typed"')

    def told(self, line: str) -> str:
        """A person is told by a number that is out of the ordinary: five half-open sockets, 64 of one source."""
        number = int(line.split()[0]) if line.split()[:1] and line.split()[0].isdigit() else 0
        usual = 5 if "SYN_RECV" in line else 64
        return " ".join(line.split()) if number > usual else ""


class _Reenacted(Contender):
    word: ClassVar[str]

    def start(self) -> None:
        python = f"env PYTHONPATH={Path(__file__).parents[2]} {sys.executable}"
        self._out = self.spawn(f"{python} -m tests.bench.reenacted {self.word}")

    def ready(self) -> bool:
        return "ready" in self._out.read_text()

    def files(self) -> Iterable[Path]:
        return [self._out, *super().files()]

    def told(self, line: str) -> str:
        return "" if line == "ready" else line

    def banned(self) -> set[str]:
        return set(re.findall(r"-s ([\d.]+)/32 -j (?:DROP|REJECT)", self.run("iptables -S INPUT")))

    def ended_by(self) -> str:
        return "the daemon, by deleting the rule" if self.banned() else "-"


class Deflate(_Reenacted):
    """ddos-deflate, re-enacted."""

    name = "ddos-deflate (re-enacted)"
    how = "sockets in any state by source, every 5 s: 80 on web ports, 150 in all"
    word = "deflate"
    lasts = "10 min"


class Csf(_Reenacted):
    """CSF with its daemon, re-enacted, SYNFLOOD and CT_LIMIT on."""

    name = "CSF (re-enacted)"
    how = "SYNFLOOD 100/s for everybody together; CT_LIMIT 300, every 30 s"
    word = "csf"
    said_in = ("/var/log/kern.log",)
    layer = True
    lasts = "30 min"

    def start(self) -> None:
        self.box.write("/etc/ulogd.conf", _ULOGD)
        self.spawn("ulogd -c /etc/ulogd.conf")
        super().start()


class Fail2ban(Contender):
    """fail2ban as Debian ships it, with the usual jail on logged SYNs."""

    name = "fail2ban"
    how = "SYNs logged at most 50/s; a jail with maxretry 30, findtime 10 s, bantime 10 min"
    said_in = ("/var/log/fail2ban.log",)
    layer = True
    lasts = "10 min"

    def start(self) -> None:
        self._log_syns("kernel: SYN ")
        self.box.write("/etc/fail2ban/filter.d/syn-flood.conf", "[Definition]\nfailregex = SYN .*SRC=<HOST> .* SYN\n")
        self.box.write(
            "/etc/fail2ban/jail.local",
            "[sshd]\nenabled = false\n[syn-flood]\nenabled = true\nfilter = syn-flood\nlogpath = /var/log/kern.log\n"
            "backend = polling\nmaxretry = 30\nfindtime = 10\nbantime = 600\nbanaction = iptables-allports\n",
        )
        self.run("mkdir -p /run/fail2ban; rm -f /etc/fail2ban/jail.d/*")
        self.spawn("fail2ban-server -f --logtarget /var/log/fail2ban.log start")

    def ready(self) -> bool:
        return "Number of jail:\t1" in self.run("fail2ban-client status")

    def told(self, line: str) -> str:
        return line.partition("NOTICE")[2].strip() if "Ban " in line else ""

    def banned(self) -> set[str]:
        listed = self.run("fail2ban-client status syn-flood").partition("Banned IP list:")[2]
        return set(listed.split())

    def ended_by(self) -> str:
        return "the daemon, by deleting the rule" if "REJECT" in self.run("iptables -S f2b-syn-flood") else "-"


class Crowdsec(Contender):
    """CrowdSec with its firewall bouncer as Debian ships them: the offline hub, its collections and iptables' too."""

    name = "CrowdSec"
    how = "linux, nginx, iptables collections of the packaged hub; the same SYN log; firewall bouncer"
    said_in = ()
    layer = True
    lasts = "4 h"
    _LINKS: Final = (
        "parsers/s00-raw/crowdsecurity/syslog-logs",
        "parsers/s01-parse/crowdsecurity/iptables-logs",
        "parsers/s01-parse/crowdsecurity/nginx-logs",
        "parsers/s02-enrich/crowdsecurity/dateparse-enrich",
        "parsers/s02-enrich/crowdsecurity/http-logs",
        "scenarios/crowdsecurity/iptables-scan-multi_ports",
        "scenarios/crowdsecurity/nginx-req-limit-exceeded",
        "scenarios/crowdsecurity/http-crawl-non_statics",
        "scenarios/crowdsecurity/http-probing",
    )

    def start(self) -> None:
        self._log_syns("kernel: SYN ")
        self.run(
            "echo nameserver 127.0.0.1 > /etc/resolv.conf; mkdir -p /var/lib/crowdsec/hub /var/lib/crowdsec/data;"
            "for one in blockers collections parsers postoverflows scenarios .index.json; do"
            "  ln -s /usr/share/crowdsec/hub/$one /var/lib/crowdsec/hub/$one; done;"
            "cp /usr/share/crowdsec/data/* /var/lib/crowdsec/data/; touch /etc/crowdsec/local_api_credentials.yaml;"
            "echo '# no thanks' > /etc/crowdsec/online_api_credentials.yaml; rm -rf /etc/crowdsec/acquis.d"
        )
        for link in self._LINKS:
            kind, _, name = link.partition("/crowdsecurity/")
            self.run(
                f"mkdir -p /etc/crowdsec/{kind};"
                f"ln -s /var/lib/crowdsec/hub/{link}.yaml /etc/crowdsec/{kind}/{name}.yaml"
            )
        logs = "filename: /var/log/kern.log\nlabels:\n  type: syslog\n---\n"
        self.box.write(
            "/etc/crowdsec/acquis.yaml", f"{logs}filename: /var/log/nginx/access.log\nlabels:\n  type: nginx\n"
        )
        self.run("mkdir -p /var/log/nginx; touch /var/log/nginx/access.log")
        self.run("cscli --error machines add --force bench --password bench; cscli --error bouncers add b -k key")
        self.run(
            "sed -i 's/^daemonize: true/daemonize: false/; s/${BACKEND}/nftables/; s/${API_KEY}/key/'"
            " /etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml"
        )
        self.spawn("crowdsec -c /etc/crowdsec/config.yaml")
        self._bouncing = False

    def ready(self) -> bool:
        if "starting processing data" not in self._log() and "Starting processing data" not in self._log():
            return False
        if not self._bouncing:
            self.spawn("crowdsec-firewall-bouncer -c /etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml")
            self._bouncing = True
        return "crowdsec" in self.run("nft list tables")

    def files(self) -> Iterable[Path]:
        return [self.box.path("/var/log/crowdsec.log")]

    def told(self, line: str) -> str:
        return line if "performed" in line or "ban on" in line else ""

    def banned(self) -> set[str]:
        found = json.loads(self.run("cscli decisions list -o json 2>/dev/null") or "null") or []
        return {decision["value"] for alert in found for decision in alert["decisions"]}

    def ended_by(self) -> str:
        return "the kernel" if "timeout" in self.run("nft list ruleset") and self.banned() else "-"

    def parsed(self) -> str:
        """Return its own account of what it read and which scenario took it up."""
        return self.run("cscli metrics --no-unit 2>/dev/null")

    def _log(self) -> str:
        path = self.box.path("/var/log/crowdsec.log")
        return path.read_text() if path.exists() else ""


class Synguard(Contender):
    """synguard, enforcing, with its default pack and nothing else configured."""

    name = "synguard"
    how = "enforcing, the pack `default`, no other setting"
    lasts = "2 min (forgeable evidence), 10 min (a handshake)"

    def start(self) -> None:
        self._out = self.spawn("synguard run --enforce")

    def ready(self) -> bool:
        return "protected list loaded" in self._out.read_text()

    def files(self) -> Iterable[Path]:
        return [self._out]

    def told(self, line: str) -> str:
        return line.partition("WARNING ")[2]

    def banned(self) -> set[str]:
        return {ban["target"] for ban in json.loads(self.run("synguard bans --json"))}

    def ended_by(self) -> str:
        return "the kernel" if self.banned() and "timeout" in self.run("ipset save; nft list ruleset") else "-"


CONTENDERS: Final = (Contender, Netstat, Deflate, Csf, Fail2ban, Crowdsec, Synguard)
