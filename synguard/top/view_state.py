"""What a person has made of the screen: which table, which row, what order, what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from synguard.addresses import Network, format_network
from synguard.model import Scope
from synguard.top.rows import ORDERS, Order, Pane, Row
from synguard.units import format_duration

LASTS: Final = (600.0, 3600.0, 21600.0, 86400.0, 604800.0)
"""How long a ban from the keyboard may last, seconds; ``+`` and ``-`` walk through them."""

MOST_TYPED: Final = 60


@dataclass(frozen=True, slots=True)
class BanWish:
    """A ban that a person is about to order."""

    target: Network
    scope: Scope = Scope.ALL
    lasts_s: float = 3600.0
    forgeable: bool = False
    """Whether all that is known against the target can be forged."""

    def __str__(self) -> str:
        context = "every packet" if self.scope is Scope.ALL else "new connections only"
        return f"ban {format_network(self.target)} for {format_duration(self.lasts_s)}, {context}"


@dataclass(frozen=True, slots=True)
class UnbanWish:
    """A ban that a person is about to remove."""

    target: str
    ban_id: str

    def __str__(self) -> str:
        return f"remove the ban of {self.target}, id {self.ban_id}"


Wish: TypeAlias = BanWish | UnbanWish


@dataclass(frozen=True, slots=True)
class Help:
    """The keys are shown."""


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is known of the chosen row is shown, as fresh as the row."""


@dataclass(frozen=True, slots=True)
class Typing:
    """A word is being typed."""

    purpose: str
    """``filter`` or ``ban``."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A wish waits for yes or no."""

    wish: Wish
    lines: tuple[str, ...] = ()
    """What it would hit."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was done, or refused; press any key to go back."""

    lines: tuple[str, ...]
    bad: bool = False


Dialog: TypeAlias = Help | Detail | Typing | Prompt | Notice | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person is in one table: at a row, and at its number should the row be gone."""

    key: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class ViewState:
    """All of it; the same view of the same look is the same screen."""

    pane: Pane = Pane.BANS
    places: Mapping[Pane, Place] = field(default_factory=dict)
    orders: Mapping[Pane, Order] = field(default_factory=dict)
    needle: str = ""
    dialog: Dialog = None
    paused: bool = False

    def order(self, pane: Pane) -> Order:
        """Return the order of a table."""
        return self.orders.get(pane, (ORDERS[pane][0], False))

    def number(self, pane: Pane, rows: Sequence[Row]) -> int:
        """Return which row is chosen: the same as before wherever it is now, or the one in its place; 0 of none."""
        place = self.places.get(pane, Place())
        if place.number < len(rows) and rows[place.number].key == place.key:
            return place.number
        found = next((number for number, row in enumerate(rows) if row.key == place.key), place.number)
        return max(min(found, len(rows) - 1), 0)

    def chosen(self, rows: Sequence[Row]) -> Row | None:
        """Return the chosen row of the table that the keys go to."""
        return rows[self.number(self.pane, rows)] if rows else None

    def moved(self, rows: Sequence[Row], to: int) -> ViewState:
        """Return the view with another row chosen, the nearest there is."""
        number = max(min(to, len(rows) - 1), 0)
        place = Place(rows[number].key if rows else "", number)
        return replace(self, places={**self.places, self.pane: place})
