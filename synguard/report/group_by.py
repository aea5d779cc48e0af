"""What sockets can be grouped by; apart, so that the command line need not load numpy to know its options."""

from __future__ import annotations

from enum import StrEnum


class By(StrEnum):
    """What sockets are grouped by."""

    SOURCE = "source"
    """Remote address of a socket whose local port listens."""
    PREFIX = "prefix"
    """The network it lies in."""
    PORT = "port"
    """Local port that listens."""
    STATE = "state"
    PROCESS = "process"
    """Process that listens on the local port."""
    REMOTE = "remote"
    """Remote address, whichever end opened the connection."""
