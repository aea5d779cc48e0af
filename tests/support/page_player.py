"""Plays pages of the documentation: every line that a page has its reader type, typed on a real host under a flood.

The host is a sandbox in a lab: nginx, clients, a flood, an agent where the scene says so. All pages of one stage share
the lab and its traffic; each has a sandbox, a ledger and an empty firewall of its own.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final

from synguard.readings import Protected
from synguard.status.model import read_status
from tests.support.calm_day import calm
from tests.support.lab.client_plan import steady
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import LONGEST_S, FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import Victim
from tests.support.lab.webserver import nginx_command, nginx_config
from tests.support.page_steps import File, Line, Page, Scene
from tests.support.pages import ROOT
from tests.support.recordings import recorded
from tests.support.sandbox import HOME, Ran, Sandbox, stop

NOT_TYPED: Final[Mapping[str, str]] = {
    r"make\b": "would begin this test anew; that the target is there is a test of its own",
    r"git clone\b|cd synguard$|\.venv/bin/synguard ": "there is no network, and so no clone; make newcomer types it",
    r"(sudo )?(\w+=\S+ )*(apt|apt-get|dpkg|pipx|docker|podman)\b": "installs, or needs a service",
    r"(\S*/)?pip3? |python3 -m (venv|build)\b|/tmp/fresh/": "needs an index, and a minute; test_wheel.py does the same",
    r"(sudo )?(systemctl|systemd-analyze|journalctl|loginctl|systemd-run)\b": "there is no systemd in a sandbox",
    r"(\.venv/bin/)?(python|pytest)\b(?!.*\bwalk_flood\b).*\btests[./]": "plays floods of its own",
    r"ssh |scp ": "there is no other host",
    r"synguard (report|review|top|status)\b.*\|\s*mail\b": "there is no mail",
}
"""What no test types, as patterns of the beginning of a line, each with its reason."""

STAYS: Final = re.compile(r"\bsynguard (--config \S+ )?(run|top)\b|--watch\b|\btail -f\b")
"""What goes on until somebody ends it. ``synguard run`` goes on to the next one, or the end of the page."""
FAIR: Final[Mapping[str, frozenset[int]]] = {
    "doctor": frozenset({0, 1}),
    "unban": frozenset({0, 1}),
    "review": frozenset({0, 1}),
}
"""Verbs whose exit code 1 is an answer: something is bad; there was nothing to lift or to review."""
ASKS: Final = re.compile(
    r"\bsynguard enable\b(?! --(confirm|off)(\s|$))|\bsynguard (flush|unban --all)\b"
    r"|--(apply-suggestions|make-permanent)\b"
)
"""What asks a person first; a reader who types it means it."""
_AGENT: Final = re.compile(r"(\S*bin/)?synguard (--config \S+ )?run\b")
_SHORT_RUN: Final = re.compile(r"--for [0-9]s\b")
_WATCHED_S: Final = 1.0
_CALM_S: Final = 60.0
_PATIENCE_S: Final = 60.0
_PACE: Final = 3_000.0
"""SYN/s: enough to fill a queue of 128 in a twentieth of a second, little enough for a test beside others."""

FLOODS: Final[Mapping[str, tuple[SourceGroup, ...]]] = {
    "mixed": (hosts("203.0.113.5", weight=0.3), prefix("198.18.7.0/24", distinct=72, weight=0.7)),
    "source": (hosts("203.0.113.5"),),
    "prefix": (prefix("198.18.7.0/24", distinct=128),),
    "forged": (anywhere(4),),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A line of a page, and what came of it; no result where it was left out, with the reason."""

    line: Line
    ran: Ran | None
    why_not: str = ""


class EndedError(Exception):
    """The agent ended by itself, with this exit code and these words."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class Stage:
    """A lab with its traffic, for one page after the other; a context manager."""

    def __init__(self, cookies: str = "off") -> None:
        self._lab = Lab(Victim(syncookies=int(cookies == "on"), backlog=128))
        self._cookies = cookies
        self._traffic: dict[str, Program] = {}
        self._number = 0

    def __enter__(self) -> Stage:
        self._lab.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lab.__exit__(kind, error, trace)

    def play(self, page: Page) -> list[Typed]:
        """Type every line of a page in order and return what came of each."""
        if all(why_not(line.text) for line in page.lines):
            return [Typed(line, None, why_not(line.text)) for line in page.lines]
        with self.ready(page.scene) as player:
            return [typed for step in page.steps if (typed := player.step(step)) is not None]

    @contextlib.contextmanager
    def ready(self, scene: Scene) -> Iterator[Player]:
        """Yield a player on a fresh host with everything going on that the scene names."""
        self._number += 1
        base = self._lab.workdir / f"page-{self._number}"
        self._lab.victim.sysctl({"net.ipv4.tcp_syncookies": int(self._cookies == "on")})
        with Sandbox(self._lab.victim, base / "host") as sandbox:
            player = Player(sandbox, base, f'policies = ["{scene.packs}"]\n')
            try:
                player.serve()
                self._begin(scene.flood)
                player.prepare(scene)
                yield player
            finally:
                player.end()
                sandbox.run("synguard flush --yes")

    def _begin(self, flood: str) -> None:
        """Let clients come, and one flood and no other."""
        for name, program in self._traffic.items():
            if name not in ("clients", flood):
                program.kill_if_running()
        self._keep("clients", lambda: self._lab.start_clients(steady(20, rate=20, duration_s=300)))
        if flood == "connections":
            plan = ConnectionPlan(sources=attacker_sources(3), each=900, opens_per_second=2000, duration_s=110)
            self._keep(flood, lambda: self._lab.start_connections(plan))
        elif flood != "none":
            syns = FloodPlan(groups=FLOODS[flood], pps=_PACE, duration_s=LONGEST_S)
            self._keep(flood, lambda: self._lab.start_flood(syns))

    def _keep(self, name: str, start: Callable[[], Program]) -> None:
        if name not in self._traffic or not self._traffic[name].running:
            self._traffic[name] = start()


def answered(text: str) -> str:
    """Return a line as one types it whom nobody can ask: with the yes that a reader gives at the question."""
    asks = ASKS.search(text)
    return text if asks is None or "--yes" in text else f"{text[: asks.end()]} --yes{text[asks.end() :]}"


class Player:
    """The one who types, on one host."""

    def __init__(self, sandbox: Sandbox, base: Path, config: str) -> None:
        self.sandbox, self._base = sandbox, base
        self._agent: subprocess.Popen[bytes] | None = None
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs = 0
        self._laid: set[str] = set()
        self._directory = ""
        sandbox.write("/etc/synguard/synguard.toml", config)
        sandbox.write("allow.txt", "192.0.2.0/24\n")
        sandbox.path("/opt/synguard").symlink_to(ROOT)

    def serve(self) -> None:
        """Start nginx on this host, with a queue of 128."""
        prefix_ = Path("/srv/nginx")
        self.sandbox.write(f"{prefix_}/nginx.conf", nginx_config(prefix_, (80,), Victim(backlog=128)))
        self._running.append(self.sandbox.start(" ".join(nginx_command(prefix_)), self._log()))
        wait_for(lambda: ":80 " in self.sandbox.run("ss -Hltn").output, "nginx to listen")

    def prepare(self, scene: Scene) -> None:
        """Start the agent, let it see the flood, and ban by hand whom the scene names."""
        if scene.agent != "none":
            self.run_agent(f"synguard run --{scene.agent}")
        if scene.agent != "none" and scene.flood != "none":
            wait_for(self._incident, "the agent to see the flood", every=0.05)
            time.sleep(_WATCHED_S)
        for target in filter(None, scene.bans.split(",")):
            done = self.sandbox.run(f"synguard ban {target} --for 1h --reason 'by the scene'")
            assert done.code == 0, done.output

    def step(self, step: Line | File) -> Typed | None:
        """Do one thing that a page has its reader do; None for a file."""
        if isinstance(step, File):
            self.sandbox.write(step.path, step.content)
            return None
        if why := why_not(step.text):
            self._as_systemd(step.text)
            return Typed(step, None, why)
        self._lay_recordings(step.text)
        return Typed(step, self._type(step.text))

    def _type(self, text: str) -> Ran:
        if _AGENT.match(text) and not _SHORT_RUN.search(text) and "--help" not in text:
            return self._started(text)
        if text.startswith("cd "):
            self._directory = f"{text.partition('#')[0].rstrip()}; "
        if STAYS.search(text) and not _SHORT_RUN.search(text) and "--help" not in text:
            ran = self.sandbox.run(f"timeout -s INT {_WATCHED_S + 1} {text}")
            return Ran(text, 0 if ran.code in (0, 124, 130) else ran.code, ran.output)
        return replace(self.sandbox.run(self._directory + answered(text)), line=text)

    def _as_systemd(self, text: str) -> None:
        """Do to the agent what a line asks systemd to do, so that what follows finds the host as its reader does."""
        if re.search(r"systemctl (stop|restart|disable) .*synguard", text):
            self.stop_agent()
        if re.search(r"systemctl (start|restart|enable --now) .*synguard", text):
            self.run_agent("synguard run")

    def _started(self, text: str) -> Ran:
        """Start an agent; one that ends by itself has failed, unless the page says so."""
        try:
            return Ran(text, 0, self.run_agent(text.partition("#")[0]))
        except EndedError as ended:
            return Ran(text, ended.code, str(ended))

    def run_agent(self, text: str) -> str:
        """Start an agent in place of the one that runs; return what it said until it read its sensors."""
        self.stop_agent()
        log = self._log()
        agent = self.sandbox.start(text, log)
        runtime = self.sandbox.path("/run/synguard")

        def reading() -> bool:
            if agent.poll() is not None:
                raise EndedError(agent.returncode, log.read_text())
            status = read_status(runtime)
            return status is not None and status.last_reading_at is not None

        self._agent = agent
        wait_for(reading, "the agent to read its sensors", _PATIENCE_S)
        return log.read_text()

    def _incident(self) -> bool:
        status = read_status(self.sandbox.path("/run/synguard"))
        return status is not None and bool(status.incidents)

    def stop_agent(self) -> None:
        """End the agent, if one runs, as systemd does."""
        if self._agent is not None:
            stop(self._agent)
            self.sandbox.path("/run/synguard/status.json").unlink(missing_ok=True)
            self._agent = None

    def end(self) -> None:
        """End everything that was started."""
        self.stop_agent()
        for program in self._running:
            stop(program)

    def _lay_recordings(self, text: str) -> None:
        """Lay out a recording of calm minutes where a line reads one: the reader has had a day to make it."""
        if begun := re.search(r" --record (\S+)", text):
            self.sandbox.path(f"{HOME}/{begun[1]}").unlink(missing_ok=True)
            return
        for name in set(re.findall(r"(?<![\w/-])([\w.-]+\.rec)\b", text)) - self._laid:
            self._laid.add(name)
            self.sandbox.path(f"{HOME}/{name}").unlink(missing_ok=True)  # an agent may still write to the old one
            self.sandbox.write(name, recorded((readings, Protected({})) for readings in calm(_CALM_S)))

    def _log(self) -> Path:
        self._logs += 1
        return self._base / f"{self._logs}.log"


def why_not(text: str) -> str:
    """Return why a line is not typed; empty where it is."""
    return next((why for pattern, why in NOT_TYPED.items() if re.match(pattern, text)), "")


def wrong(typed: Typed) -> str:
    """Return what is wrong with what came of a line: its exit code; empty where it came as it should."""
    if typed.ran is None:
        return ""
    expected = {typed.line.exit_code} if typed.line.exit_code is not None else _fair(typed.line.text)
    if typed.ran.code in expected:
        return ""
    return f"$ {typed.line.text}\nexit code {typed.ran.code}, expected {sorted(expected)}:\n{typed.ran.output[-1500:]}"


def _fair(text: str) -> frozenset[int]:
    verb = re.match(r"(?:\S*bin/)?synguard (\w+)", text)
    return FAIR.get(verb[1], frozenset({0})) if verb else frozenset({0})
