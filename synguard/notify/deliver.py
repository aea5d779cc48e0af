"""One delivery, in a process of its own: it is read from stdin, and the answer of the service printed.

A library that speaks fifty services' dialects is large, and a name server or a peer can hold it for ever. Here it costs
the agent neither memory nor a thread that cannot be ended, and it holds no capability while it parses answers.
"""

from __future__ import annotations

import json
import logging
import resource
import shlex
import signal
import sys
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from synguard.capabilities import give_up_all_but
from synguard.notify.redaction import is_webhook, masked, scrubbed
from synguard.notify.webhook import Refused, deliver

LAST_S: Final = 30
"""Seconds after which it ends itself, should the agent that would have ended it be gone."""
MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space."""
CPU_S: Final = 15


def how_to_install() -> str:
    """Return what installs the library where this program lives: with pipx, in a virtual environment, or elsewhere."""
    if "pipx" in Path(sys.prefix).parts:
        return "pipx inject synguard apprise"
    if sys.prefix != sys.base_prefix:
        return f"{shlex.quote(f'{sys.prefix}/bin/pip')} install apprise"
    return "pip install 'synguard[notify]'"


def main() -> None:
    """Read one delivery from stdin, make it, and print ``{"ok", "answer", "later"}``."""
    signal.alarm(LAST_S)
    delivery = json.load(sys.stdin)
    try:
        answer = _webhook(delivery) if is_webhook(delivery["url"]) else _library(delivery)
        said = {"ok": True, "answer": answer, "later": False}
    except Refused as refused:
        said = {"ok": False, "answer": scrubbed(refused.answer, delivery["url"]), "later": refused.later}
    except MemoryError:
        said = {"ok": False, "answer": "its answer was too large", "later": True}
    print(json.dumps(said))


def confine() -> None:
    """Take from this process every capability, new privileges, and more than its share of memory and CPU.

    It keeps its user, so that root's own files, such as certificates, stay readable. What the system does not allow
    is left out: it is a second wall, not the first.
    """
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (bounded, bounded))
    give_up_all_but(())


def _webhook(delivery: dict[str, Any]) -> str:
    confine()
    key = None if delivery["key"] is None else b64decode(delivery["key"])
    return deliver(delivery["url"], delivery["body"], key, delivery["timestamp"])


def _library(delivery: dict[str, Any]) -> str:
    try:
        import apprise
    except ImportError as error:
        scheme = masked(delivery["url"]).partition("://")[0]
        raise Refused(f"{scheme}:// needs a library that is not installed: {how_to_install()}", later=False) from error
    warnings = _LastWarning()
    logging.getLogger("apprise").addHandler(warnings)
    service = apprise.Apprise()
    if not service.add(delivery["url"]):
        raise Refused("its URL is not understood; see the library's list of services", later=False)
    confine()
    body = delivery["body"]
    kind = apprise.NotifyType(body["level"])
    text = body["text"].removeprefix(body["title"]).lstrip("\n")
    with TemporaryDirectory(prefix="synguard-") as directory:
        files = []
        if delivery.get("page") and any(one.attachment_support for one in service):
            name, page = delivery["page"]
            file = Path(directory, Path(name).name)
            file.write_text(page, "utf-8")
            files.append(str(file))
        if service.notify(
            body=text,
            title=body["title"],
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
            attach=files or None,
        ):
            return "taken, with the page" if files else "taken"
    raise Refused(warnings.said or "not accepted, no reason given", later=True)


class _LastWarning(logging.Handler):
    """Keeps the last warning of the library."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.said = record.getMessage()[:1000]
