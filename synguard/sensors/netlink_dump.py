"""One netlink question and its whole answer; what has been cut short or changed underway is never passed on."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

from synguard import netlink
from synguard.errors import SensorError

_TIMEOUT_S: Final = 2.0
_SOL_NETLINK: Final = 270
_STRICT_CHECK: Final = 12  # NETLINK_GET_STRICT_CHK
_TRIES: Final = 5


def dump(
    protocol: int, kind: int, payload: bytes, whose: str, at_most_bytes: int = 1 << 26, *, strict: bool = False
) -> list[bytes]:
    """Return the messages that answer a dump request; asked again when the dumped thing changed underway.

    ``whose`` names what is read, for the operator. ``strict`` has the kernel filter by what the request names
    (``NETLINK_GET_STRICT_CHK``, Linux 4.20; older ones answer with everything).

    Raises:
        SensorError: Refused, no answer, too large, or changing too fast to be read whole.
    """
    return _ask(protocol, kind, netlink.DUMP, payload, whose, at_most_bytes, strict=strict)


def ask(protocol: int, kind: int, payload: bytes, whose: str) -> list[bytes]:
    """Return the messages that answer one request that is no dump.

    Raises:
        SensorError: Refused, or no answer.
    """
    return _ask(protocol, kind, netlink.ACK, payload, whose, 1 << 17)


def _ask(
    protocol: int, kind: int, flags: int, payload: bytes, whose: str, at_most_bytes: int, *, strict: bool = False
) -> list[bytes]:
    try:
        for _ in range(_TRIES):
            with netlink.open_channel(protocol, _TIMEOUT_S) as there:
                there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                if strict:
                    with suppress(OSError):
                        there.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
                answer = netlink.ask(there, kind, payload, flags, at_most_bytes)
            if not answer.interrupted:
                return answer.bodies
    except TimeoutError as error:
        raise SensorError(f"cannot read {whose}: the kernel did not answer within {_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise SensorError(f"cannot read {whose}: {error.strerror or error}") from error
    raise SensorError(f"cannot read {whose}: it changed under each of {_TRIES} attempts to read it whole")
