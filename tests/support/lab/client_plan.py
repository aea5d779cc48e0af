"""What legitimate clients are asked to do; plain data that crosses to the client program as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.support.lab.topology import VICTIM4, VICTIM6, client4, client6

LONGEST_S = 300.0


class ClientPlan(BaseModel):
    """Some clients, each with one address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    """Addresses, dealt to the clients in turn; all of one family."""
    clients: Annotated[int, Field(gt=0, le=20_000)]
    interval_s: Annotated[float, Field(gt=0)]
    """Time between the starts of one client's attempts, also while earlier ones are under way."""
    arrive_within_s: Annotated[float, Field(ge=0)]
    """The clients' first attempts are spread evenly over this time."""
    attempts_each: int | None = None
    """A client leaves after this many; None: it stays to the end."""
    keep_alive: bool = False
    """Every exchange goes over the client's first connection, which is never opened anew."""
    duration_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = 10.0
    timeout_s: Annotated[float, Field(gt=0)] = 3.0
    """Patience of a client, for connecting and reading together."""
    port: int = 80
    seed: int = 1

    @property
    def target(self) -> str:
        """The victim's address in the clients' family."""
        return str(VICTIM6 if ":" in self.sources[0] else VICTIM4)


def client_sources(count: int, version: Literal[4, 6] = 4, first: int = 0) -> tuple[str, ...]:
    """Return ``count`` addresses of the client site."""
    make = client6 if version == 6 else client4
    return tuple(str(make(first + number)) for number in range(count))


def steady(
    clients: int = 20,
    rate: float = 40.0,
    duration_s: float = 10.0,
    version: Literal[4, 6] = 4,
    timeout_s: float = 3.0,
    first: int = 0,
) -> ClientPlan:
    """Return clients that together open ``rate`` connections a second, one page each."""
    interval = clients / rate
    return ClientPlan(
        sources=client_sources(clients, version, first),
        clients=clients,
        interval_s=interval,
        arrive_within_s=interval,
        duration_s=duration_s,
        timeout_s=timeout_s,
    )


def flash_crowd(
    clients: int = 1000, within_s: float = 5.0, pages_each: int = 2, version: Literal[4, 6] = 4, first: int = 0
) -> ClientPlan:
    """Return many new clients that all arrive within a few seconds, as after a television mention."""
    return ClientPlan(
        sources=client_sources(clients, version, first),
        clients=clients,
        interval_s=within_s / 2,
        arrive_within_s=within_s,
        attempts_each=pages_each,
        duration_s=within_s * (pages_each + 1),
    )


def behind_nat(
    clients: int = 100, rate: float = 50.0, duration_s: float = 10.0, source: str | None = None
) -> ClientPlan:
    """Return an office: many clients that share one address."""
    plan = steady(clients, rate, duration_s)
    return plan.model_copy(update={"sources": (source or str(client4(5000)),)})


def persistent(
    clients: int = 10, interval_s: float = 0.5, duration_s: float = 10.0, sources: tuple[str, ...] | None = None
) -> ClientPlan:
    """Return clients that each keep one connection and ask over it again and again."""
    return ClientPlan(
        sources=sources or client_sources(clients, first=6000),
        clients=clients,
        interval_s=interval_s,
        arrive_within_s=interval_s,
        keep_alive=True,
        duration_s=duration_s,
    )
