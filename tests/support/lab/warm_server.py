"""A process that has imported everything and forks what it is asked for: ``python -m tests.support.lab.warm_server``.

What a program of the lab, a verb or an agent imports costs it more than what it does, and the tests start some two
thousand of them. Here that is paid once. What is about processes, rights or cost is started as operators start it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = ("clients", "connection_flood", "meter", "setting_watch", "syn_flood")
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWNS: Final = 0x00020000
_MS_BIND: Final = 0x1000
_MS_REC_SLAVE: Final = 0x4000 | 0x80000
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def serve(control: socket.socket) -> Callable[[], None]:
    """Fork for each connection that arrives until the other end is closed; return, in a forked process, what it runs.

    A connection carries a job as JSON and four descriptors (namespace, stdin, stdout, stderr); it is answered with the
    process id and, when the process has ended, with its exit code, each on a line.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        _, arrived, _, _ = socket.recv_fds(control, 1, 1)
        if not arrived:
            return lambda: None
        with socket.socket(fileno=arrived[0]) as connection:
            if os.fork() == 0:
                control.close()
                job = _attend(connection)
                if job is not None:
                    return job
                os._exit(0)


def _attend(connection: socket.socket) -> Callable[[], None] | None:
    """Fork the process that is asked for and tell of its end; return its job in it, None once it is over."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first, descriptors, _, _ = socket.recv_fds(connection, 65536, 4)
    text = bytearray(first)
    while more := connection.recv(65536):
        text += more
    child = os.fork()
    if child == 0:
        connection.close()
        return _begin(json.loads(text), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(b"%d\n" % child)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return None


def _begin(job: dict[str, Any], descriptors: Sequence[int]) -> Callable[[], None]:
    """Become what the job says: its namespace, its standard streams, its environment, its words."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    namespace, *streams = descriptors
    _enter(namespace, Path("/etc/netns", job["host"]))
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0)  # noqa: SIM115  # as long as the process
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = job["words"]
    module, _, function = str(job["entry"]).partition(":")
    entry: Callable[[], None] = getattr(importlib.import_module(module), function)
    return entry


def _enter(namespace: int, files: Path) -> None:
    """As ``ip netns exec``: the network, a ``/sys`` that shows it, and in ``/etc`` the files that are meant for it."""
    if (
        _LIBC.setns(namespace, _CLONE_NEWNET)
        or _LIBC.unshare(_CLONE_NEWNS)
        or _LIBC.mount(b"", b"/", b"none", _MS_REC_SLAVE, None)
        or _LIBC.umount2(b"/sys", _MNT_DETACH)
        or _LIBC.mount(b"lab", b"/sys", b"sysfs", 0, None)
    ):
        raise OSError(ctypes.get_errno(), "entering a network namespace")
    os.close(namespace)
    for file in files.glob("*"):
        _LIBC.mount(bytes(file), b"/etc/" + file.name.encode(), b"none", _MS_BIND, None)


def _import_everything() -> None:
    import synguard

    for found in pkgutil.walk_packages(synguard.__path__, "synguard."):
        importlib.import_module(found.name)
    for name in PROGRAMS:
        importlib.import_module(f"tests.support.lab.{name}")
    from synguard.enforcer.iptables import xtables

    xtables._iptc()
    gc.freeze()


def _leave_namespace_of_starter() -> None:
    """Go where the test run's main thread is; what is found in a lab's namespace when that is removed is killed."""
    home = os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY)
    if _LIBC.setns(home, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "entering the network namespace of the test run")
    os.close(home)


if __name__ == "__main__":
    _leave_namespace_of_starter()
    _import_everything()
    serve(socket.socket(fileno=int(sys.argv[1])))()
