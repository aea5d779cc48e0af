"""Messages on their way to real servers on loopback: taken, refused, slow, silent, untrusted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tenacity import RetryCallState, Retrying, wait_none

from synguard.notify import template
from synguard.notify.deliver import how_to_install
from synguard.notify.dispatcher import PATIENCE_S, TRIES, WAIT, WAITING, Dispatcher, Worker
from synguard.notify.message import About, AttackFigures, Message
from synguard.notify.sender import COMMAND, DEADLINE_S, Sender
from synguard.notify.services import Service
from synguard.notify.webhook import SIGNATURE, TIMESTAMP, Refused
from tests.support.mail_and_web import Mail, Web, free_port, self_signed, silent_port

AT = datetime(2026, 11, 22, 14, 5, 16, tzinfo=UTC)
FIGURES = AttackFigures("b99eb4b9", "syn-flood", AT, None, 1, 2, 0, 129, 10023.4, ("80 (nginx)",), dry_run=False)
START = template.start("web1", FIGURES, template.More(AT, "clients are served: 18 handshakes/s complete"))
SECRET = "s3cr3t-t0ken"


def sent(url: str, message: Message = START, key: bytes | None = None, deadline_s: float = 20.0) -> str:
    sender = Sender("web1", key, deadline_s=deadline_s, wall_clock=lambda: 1_795_442_716.0)
    return asyncio.run(sender.send(Service(url, 1), message))


def refused(url: str, deadline_s: float = 20.0) -> Refused:
    with pytest.raises(Refused) as caught:
        sent(url, deadline_s=deadline_s)
    assert SECRET not in str(caught.value)
    return caught.value


def until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.01)


def test_a_webhook_is_sent_the_documented_body() -> None:
    with Web() as web:
        assert sent(web.url()) == "HTTP 200 OK"
    assert web.bodies == [
        {
            "synguard": 1,
            "event": "start",
            "level": "warning",
            "host": "web1",
            "at": "2026-11-22T14:05:16.000Z",
            "title": "web1: SYN flood began",
            "text": "web1: SYN flood began\n"
            "since 2026-11-22 14:05:16 UTC, on port 80 (nginx)\n"
            "2 bans, 0 spared\n"
            "peak 129 half-open, 10,023 SYN/s\n"
            "clients are served: 18 handshakes/s complete\n"
            "what to do: nothing, bans end by themselves\n"
            "look: synguard status",
            "attack": {
                "id": "b99eb4b9",
                "kind": "syn-flood",
                "started_at": "2026-11-22T14:05:16.000Z",
                "ended_at": None,
                "incidents": 1,
                "bans": 2,
                "spared": 0,
                "peak_half_open": 129,
                "peak_syn_pps": 10023.4,
                "ports": ["80 (nginx)"],
                "dry_run": False,
                "restarts": 0,
            },
            "states": [],
        }
    ]
    assert SIGNATURE not in web.headers[0]


def test_a_webhook_is_signed_over_time_and_body_where_there_is_a_key() -> None:
    with Web() as web:
        sent(web.url(), key=b"k3y")
    told = {name.lower(): value for name, value in web.headers[0].items()}
    expected = hmac.new(b"k3y", b"1795442716." + web.raw[0], hashlib.sha256).hexdigest()
    assert told[TIMESTAMP.lower()] == "1795442716"
    assert told[SIGNATURE.lower()] == f"sha256={expected}"


def test_a_login_in_the_url_is_sent_as_basic_authentication() -> None:
    with Web() as web:
        sent(web.url(login="ops:p%40ss@"))
    assert {name.lower(): value for name, value in web.headers[0].items()}["authorization"] == "Basic b3BzOnBAc3M="


@pytest.mark.parametrize(
    ("answer", "says", "later"),
    [
        (500, "HTTP 500 Internal Server Error", True),
        (429, "HTTP 429 Too Many Requests", True),
        (404, "HTTP 404 Not Found", False),
        (302, "HTTP 302 Found: redirects are not followed, give the final URL", False),
    ],
)
def test_what_a_webhook_answers_decides_whether_it_is_tried_again(answer: int, says: str, later: bool) -> None:
    with Web(answer) as web:
        told = refused(web.url())
    assert (told.answer, told.later) == (says, later)


def test_a_port_that_is_closed_is_told() -> None:
    told = refused(f"http://127.0.0.1:{free_port()}/{SECRET}")
    assert (told.answer, told.later) == ("cannot be reached: Connection refused", True)


def test_a_name_that_is_not_known_is_told() -> None:
    told = refused(f"http://nowhere.invalid/{SECRET}")
    assert told.later
    assert "name" in told.answer


def test_a_certificate_that_nobody_signed_is_not_trusted(tmp_path: Path) -> None:
    with Web(tls=self_signed(tmp_path)) as web:
        told = refused(web.url())
    assert told.answer.startswith("its certificate is not trusted: self")
    assert not told.later
    assert web.bodies == []


def test_a_server_that_takes_connections_and_never_answers_is_left_at_the_deadline() -> None:
    with silent_port() as port:
        began = time.monotonic()
        told = refused(f"http://127.0.0.1:{port}/{SECRET}", deadline_s=1.0)
        assert time.monotonic() - began < 15
    assert (told.answer, told.later) == ("no answer within 1 s", True)


def test_an_answer_without_an_end_costs_nothing_since_it_is_not_read() -> None:
    with Web(drip=True) as web:
        assert sent(web.url()) == "HTTP 200 OK"


def test_mail_arrives_with_title_and_text() -> None:
    with Mail() as mail:
        assert sent(mail.url) == "taken"
    (text,) = mail.taken
    assert "Subject: web1: SYN flood began" in text
    assert "To: ops@example.org" in text
    lines = [line.removesuffix("=20") for line in text.splitlines()]
    assert "since 2026-11-22 14:05:16 UTC, on port 80 (nginx)" in lines
    assert "2 bans, 0 spared" in lines


def test_a_mail_server_that_refuses_is_tried_again() -> None:
    with Mail(refuse="451 try later") as mail:
        told = refused(mail.url)
    assert told.later
    assert mail.taken == []


def test_a_silent_mail_server_is_left_at_the_deadline() -> None:
    with silent_port() as port:
        told = refused(
            f"mailto://ops:{SECRET}@127.0.0.1:{port}/?from=a@example.org&to=b@example.org&mode=insecure", deadline_s=2.0
        )
    assert told.later


def test_a_url_that_the_library_does_not_know_is_not_tried_again() -> None:
    told = refused(f"nosuchservice://{SECRET}")
    assert (told.answer, told.later) == ("its URL is not understood; see the library's list of services", False)


def test_without_the_library_it_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError('not here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from synguard.notify.deliver import main; main()"
    delivery = {"url": f"mailto://ops:{SECRET}@mx", "body": {}, "key": None, "timestamp": "0"}
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(delivery), capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert said["answer"] == "mailto:// needs a library that is not installed: " + how_to_install()
    assert not said["later"]


def test_the_process_that_delivers_holds_no_capability(tmp_path: Path) -> None:
    code = (
        "from synguard.notify.deliver import confine; confine();"
        "print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'NoNewPrivs'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("0000000000000000") == 2
    assert "NoNewPrivs:\\t1" in done.stdout


def test_the_agent_itself_never_imports_the_library_nor_the_process_what_it_needs_not() -> None:
    code = "import sys, synguard.agent.alerts; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    code = "import sys, synguard.notify.deliver; print({'apprise', 'pydantic', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert COMMAND[1] == "-IS"


class Carrier:
    """Refuses as often as it is told, and keeps what it carried."""

    def __init__(self, refusals: int = 0, *, later: bool = True) -> None:
        self.refusals = refusals
        self.later = later
        self.tries = 0
        self.carried: list[Message] = []
        self.gate = threading.Event()
        self.gate.set()

    async def send(self, _service: Service, message: Message) -> str:
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        self.tries += 1
        if self.refusals:
            self.refusals -= 1
            raise Refused("not now", later=self.later)
        self.carried.append(message)
        return "taken"


def dispatcher(tmp_path: Path, *carriers: Carrier) -> Dispatcher:
    workers = [
        Worker(Service(f"http://mx{number}/{SECRET}", number), carrier, wait=wait_none())
        for number, carrier in enumerate(carriers, 1)
    ]
    made = Dispatcher(workers, tmp_path)
    made.start()
    return made


def test_a_message_is_tried_again_until_it_is_taken(tmp_path: Path) -> None:
    carrier = Carrier(refusals=TRIES - 1)
    at_work = dispatcher(tmp_path, carrier)
    at_work.enqueue(START)
    until(lambda: at_work.workers[0].sent == 1)
    at_work.stop()
    assert carrier.tries == TRIES
    assert at_work.problems == ()


def test_a_message_is_given_up_with_one_line_and_the_next_one_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = Carrier(refusals=2 * TRIES)
    at_work = dispatcher(tmp_path, carrier)
    at_work.enqueue(START)
    at_work.enqueue(START)
    until(lambda: at_work.workers[0].failed == 2)
    assert at_work.problems == ("messages to 1 http://mx1/… do not arrive: not now; try: synguard notify test",)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == list(at_work.problems)
    at_work.enqueue(START)
    until(lambda: bool(carrier.carried))
    at_work.stop()
    assert carrier.carried[0].lines[-1] == "2 earlier messages could not be delivered"
    assert at_work.problems == ()
    assert SECRET not in caplog.text


def test_what_will_never_be_taken_is_not_tried_again(tmp_path: Path) -> None:
    carrier = Carrier(refusals=1, later=False)
    at_work = dispatcher(tmp_path, carrier)
    at_work.enqueue(START)
    until(lambda: at_work.workers[0].failed == 1)
    at_work.stop()
    assert carrier.tries == 1


def test_a_dead_service_delays_neither_who_hands_over_nor_the_other_services(tmp_path: Path) -> None:
    dead, alive = Carrier(), Carrier()
    dead.gate.clear()
    at_work = dispatcher(tmp_path, dead, alive)
    for count in range(3 * WAITING):
        at_work.enqueue(START)
        until(lambda count=count: len(alive.carried) == count + 1)  # type: ignore[misc]
    waiting, taken, _, overflowed = at_work.counts()
    assert waiting == WAITING + 1
    assert overflowed == 3 * WAITING - WAITING - 1
    assert taken == 3 * WAITING
    dead.gate.set()
    until(lambda: len(dead.carried) == WAITING + 1)
    at_work.stop()
    assert dead.carried[1].lines[-1] == f"{overflowed} earlier messages could not be delivered"


def test_a_stop_waits_for_what_is_under_way_but_only_briefly(tmp_path: Path) -> None:
    carrier = Carrier()
    carrier.gate.clear()
    at_work = dispatcher(tmp_path, carrier)
    at_work.enqueue(START)
    began = time.monotonic()
    at_work.stop()
    assert time.monotonic() - began < PATIENCE_S + 5
    assert not at_work._thread.is_alive()
    assert carrier.carried == []


def test_a_stop_kills_the_process_that_waits_for_a_silent_server(tmp_path: Path) -> None:
    with silent_port() as port:
        worker = Worker(Service(f"http://127.0.0.1:{port}/", 1), Sender("web1"))
        at_work = Dispatcher([worker], tmp_path)
        at_work.start()
        at_work.enqueue(START)
        until(lambda: worker.waiting == 1)
        at_work.stop()
        until(lambda: not at_work._thread.is_alive(), 5)


def test_a_fault_of_ours_does_not_end_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = Carrier()
    monkeypatch.setattr(carrier, "send", lambda *_: 1 / 0)
    at_work = dispatcher(tmp_path, carrier)
    at_work.enqueue(START)
    until(lambda: at_work.workers[0].failed == 1)
    assert at_work._thread.is_alive()
    at_work.stop()


def test_tries_end_within_minutes() -> None:
    """The sum of the longest pauses, and of every try's deadline."""
    again = Retrying()
    pauses = []
    for number in range(1, TRIES):
        state = RetryCallState(again, None, (), {})
        state.attempt_number = number
        pauses.append(WAIT(state))
    assert 200 < sum(pauses) < 300
    assert sum(pauses) + TRIES * DEADLINE_S < 450


def test_a_message_about_a_state_says_what_to_do() -> None:
    told = template.states("web1", AT, ((About.PLANE, "the kernel refused"), (About.UNHEALTHY, "not healthy: x")))
    assert told.title == "web1: bans do not reach the kernel (and 1 more)"
    assert told.lines[:2] == ("the kernel refused", "what to do: it is tried again and again. Look: synguard doctor")
