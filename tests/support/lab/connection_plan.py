"""What a connection flood is asked to be; plain data that crosses to the program as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.support.lab.topology import VICTIM4, VICTIM6, attacker4, attacker6


class ConnectionPlan(BaseModel):
    """Real handshakes from real addresses of the attackers' site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: Annotated[tuple[str, ...], Field(min_length=1, max_length=1024)]
    """Addresses of one family."""
    each: Annotated[int, Field(gt=0, le=20_000)]
    """Connections that every source tries to hold."""
    opens_per_second: Annotated[float, Field(gt=0, le=20_000)] = 1000.0
    """How fast they are opened, all sources together."""
    trickle_s: Annotated[float, Field(gt=0)] | None = None
    """Send one more byte of a request that never ends this often on each connection; None: stay silent."""
    duration_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    retry_s: Annotated[float, Field(gt=0)] = 1.0
    """Pause before a connection that failed or was closed is tried again."""
    timeout_s: Annotated[float, Field(gt=0)] = 3.0
    port: int = 80

    @property
    def target(self) -> str:
        """The victim's address in the sources' family."""
        return str(VICTIM6 if ":" in self.sources[0] else VICTIM4)


def attacker_sources(count: int, version: Literal[4, 6] = 4) -> tuple[str, ...]:
    """Return ``count`` real addresses of the attackers' site; in IPv6 each in a /64 of its own."""
    make = attacker6 if version == 6 else attacker4
    return tuple(str(make(number)) for number in range(count))
