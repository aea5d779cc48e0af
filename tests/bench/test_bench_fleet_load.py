"""What polling and alerts of many hosts cost one real local API: 10, 100 and 1,000 hosts, until it no longer keeps up.

Prints only. Each host asks with a key of its own every ``POLL_S``, as the agent does, and now and then tells of a ban;
a host whose answer is late asks late. The local API is Debian's CrowdSec with SQLite, alone in a namespace; hosts and
local API share this machine's cores, so what it can carry here is less than on a machine of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from statistics import median, quantiles
from typing import Any, Final, TypeVar

import psutil
import pytest

from synguard.fleet.outgoing import ban_alert
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal
from tests.support.lab.crowdsec import PORT, LocalApi
from tests.support.lab.namespaces import Namespace, new_prefix, new_workdir
from tests.support.network_thread import NetworkThread

pytestmark = [pytest.mark.bench, pytest.mark.kernel, pytest.mark.timeout(900)]

SHORT: Final = bool(os.environ.get("SHORT"))
HOSTS: Final = (10, 100) if SHORT else (10, 100, 1_000)
LASTS_S: Final = 10.0 if SHORT else 20.0
POLL_S: Final = 10.0
ALERTS_PER_HOST_S: Final = 1 / 60
"""Bans that a host tells of a second: one a minute, which is a fleet under attack."""
STANDING: Final = (1_000,) if SHORT else (1_000, 10_000)
"""Decisions that stand when a complete answer is asked for."""
LOOKS: Final = 5
PATIENCE_S: Final = 30.0
KEYS: Final = 1_000
T = TypeVar("T")


@dataclass
class Seen:
    """What the hosts saw."""

    took: dict[str, list[float]] = field(default_factory=lambda: {"complete": [], "poll": [], "alert": []})
    failed: int = 0
    late: int = 0
    """Questions that began more than a second after their time, since the one before was not answered yet."""


class Requester:
    """One connection after another; an answer is read whole."""

    def __init__(self, seen: Seen, at_once: int) -> None:
        self._seen, self._room = seen, asyncio.Semaphore(at_once)

    async def ask(self, kind: str, method: str, path: str, headers: str, body: bytes = b"") -> bytes:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._exchange(method, path, headers, body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            self._seen.failed += 1
            return b""
        self._seen.took[kind].append(time.monotonic() - began)
        return answer

    async def _exchange(self, method: str, path: str, headers: str, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 26)
        try:
            head = f"{method} {path} HTTP/1.0\r\nHost: lapi\r\nUser-Agent: synguard/0\r\n{headers}"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status = await reader.readline()
            rest = await reader.read()
            if status.split()[1] not in (b"200", b"201"):
                raise ValueError(status)
            return rest.partition(b"\r\n\r\n")[2]
        finally:
            writer.close()


async def host(number: int, requester: Requester, seen: Seen, token: str, starts_at: float, ends_at: float) -> None:
    """Poll and tell at the agent's pace until the end."""
    headers = f"X-Api-Key: key{number % KEYS}\r\n"
    owed, due = (number % 60) / 60, starts_at - POLL_S
    while (due := due + POLL_S) < ends_at:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        seen.late += time.monotonic() - due > 1.0
        await requester.ask("poll", "GET", "/v1/decisions/stream?startup=false&scopes=Ip,Range", headers)
        owed += POLL_S * ALERTS_PER_HOST_S
        if owed >= 1:
            owed -= 1
            body = json.dumps([alert(f"198.{18 + number % 2}.{number >> 8 & 255}.{number & 255}")]).encode()
            bearer = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            await requester.ask("alert", "POST", "/v1/alerts", bearer, body)


def alert(address: str) -> Any:
    now = datetime.now(UTC)
    evidence = (Evidence(Signal.CONNECTIONS, 700.0, 400.0),)
    made = Ban(
        "a1", ip_network(address), Scope.ALL, Action.DROP, Origin.AUTO, "web", "connections 700 / 400", now,
        now + timedelta(minutes=10), evidence=evidence,
    )  # fmt: skip
    return ban_alert(made, now)


async def login() -> str:
    body = json.dumps({"machine_id": "fleet", "password": "fleet", "scenarios": []}).encode()
    answer = await Requester(Seen(), 1)._exchange(
        "POST", "/v1/watchers/login", "Content-Type: application/json\r\n", body
    )
    return str(json.loads(answer)["token"])


async def stand(token: str, first: int, last: int) -> None:
    """Have many decisions stand, by a few large alerts."""
    bearer = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    for start in range(first, last, 1_000):
        whole = alert("192.0.2.9")
        decision = whole["decisions"][0] | {"duration": "4h"}
        whole["decisions"] = [
            decision | {"value": f"{20 + n % 80}.{n >> 8 & 255}.{n & 255}.1"} for n in range(start, start + 1_000)
        ]
        await Requester(Seen(), 1)._exchange("POST", "/v1/alerts", bearer, json.dumps([whole]).encode())


async def complete_looks() -> Seen:
    seen = Seen()
    for _ in range(LOOKS):
        path = "/v1/decisions/stream?startup=true&scopes=Ip,Range"
        await Requester(seen, 1).ask("complete", "GET", path, "X-Api-Key: key0\r\n")
    return seen


async def fleet(count: int, token: str) -> tuple[Seen, float]:
    seen = Seen()
    requester = Requester(seen, count)
    began = time.monotonic() + 0.5
    ends_at = began + LASTS_S
    hosts = [host(number, requester, seen, token, began + POLL_S * number / count, ends_at) for number in range(count)]
    await asyncio.gather(*hosts)
    return seen, time.monotonic() - began


@pytest.fixture
def api() -> Iterator[LocalApi]:
    with ExitStack() as held:
        namespace = Namespace(f"{new_prefix()}-lapi")
        namespace.add()
        held.callback(namespace.remove_if_present)
        api = LocalApi(namespace, new_workdir() / "lapi")
        held.callback(api.kill)
        api.machine("fleet", "fleet")
        api.start()
        yield api


def ms(times: list[float]) -> str:
    if len(times) < 2:
        return f"{'-':>7}{'-':>8}"
    return f"{1000 * quantiles(times, n=2)[0]:>7.0f}{1000 * quantiles(times, n=100)[98]:>8.0f}"


def add_keys(api: LocalApi, count: int) -> None:
    """Register bouncers where ``cscli`` would take a second for each: in its database, as it hashes them."""
    import hashlib
    import sqlite3

    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S+00:00")
    with sqlite3.connect(api.database, timeout=30) as db:
        db.executemany(
            "INSERT INTO bouncers (created_at, updated_at, name, api_key, revoked, last_pull, auth_type)"
            " VALUES (?, ?, ?, ?, 0, ?, 'api-key')",
            [(now, now, f"host{n}", hashlib.sha512(f"key{n}".encode()).hexdigest(), now) for n in range(count)],
        )


def test_many_hosts_on_one_local_api(api: LocalApi, capsys: pytest.CaptureFixture[str]) -> None:
    add_keys(api, max(HOSTS))
    there = NetworkThread(api.namespace)
    token = there.call(asyncio.run, login())
    process = psutil.Process(api.pid)
    out = [
        f"each host asks every {POLL_S:g} s and tells of a ban every {1 / ALERTS_PER_HOST_S:g} s; "
        "times in ms: median, 99th of 100",
        f"{'hosts':>6}{'asked/s':>9}{'CPU':>7}{'memory':>9}{'poll':>15}{'alert':>15}{'late':>7}{'failed':>8}",
    ]

    def measured(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
        before = process.cpu_times()
        came = there._pool.submit(asyncio.run, work).result(600)
        after = process.cpu_times()
        return came, after.user + after.system - before.user - before.system

    for count in HOSTS:
        (seen, took), cpu_s = measured(fleet(count, token))
        asked = sum(map(len, seen.took.values())) / took
        out.append(
            f"{count:>6}{asked:>9.1f}{cpu_s / took:>7.0%}{process.memory_info().rss / 1e6:>7.0f}MB"
            f"{ms(seen.took['poll'])}{ms(seen.took['alert'])}{seen.late:>7}{seen.failed:>8}"
        )
    out.append("a complete answer, as at a start and every ten minutes: decisions, ms, CPU")
    first = 0
    for last in STANDING:
        there.call(asyncio.run, stand(token, first, last))
        first = last
        looks, cpu_s = measured(complete_looks())
        out.append(f"{last:>6}{1000 * median(looks.took['complete']):>9.0f}{cpu_s / LOOKS:>8.2f} s")
    there.close()
    with capsys.disabled():
        print("\n" + "\n".join(out))
