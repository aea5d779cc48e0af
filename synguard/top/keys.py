"""What a key does: a view and a key give another view, and perhaps something to be done; nothing is done here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, TypeAlias

from synguard.addresses import parse_network
from synguard.model import Scope
from synguard.top.rows import ORDERS, Pane, Row
from synguard.top.view import (
    LASTS,
    MOST_TYPED,
    Asking,
    BanWish,
    Detail,
    Help,
    LiftWish,
    Told,
    Typing,
    View,
    Wish,
)


class Errand(StrEnum):
    """What there is to be done for a key."""

    NOTHING = "nothing"
    QUIT = "quit"
    LOOK = "look"
    """Look again at once."""
    WEIGH = "weigh"
    """Tell what the wish in the dialog would hit, or why it is refused."""
    CARRY_OUT = "carry out"
    """Do what the wish in the dialog says: a person said yes."""


Step: TypeAlias = tuple[View, Errand]
Rows: TypeAlias = Sequence[Row]

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE, BACKSPACE, TAB, BACK_TAB = "enter", "escape", "backspace", "tab", "back tab"
PAGE: Final = 10

_STEPS: Final[Mapping[str, int]] = {UP: -1, DOWN: 1, PAGE_UP: -PAGE, PAGE_DOWN: PAGE, "k": -1, "j": 1}
_PANES: Final = tuple(Pane)


def press(view: View, key: str, rows: Rows) -> Step:
    """Return what becomes of a view by a key; ``rows`` are those of the table that the keys go to.

    ``key`` is a character, or the name of a key.
    """
    match view.dialog:
        case Typing() as typing:
            return _typed(view, typing, key)
        case Asking() as asking:
            return _answered(view, asking, key)
        case Help() | Told():
            return replace(view, dialog=None), Errand.NOTHING
        case Detail() if key in (ENTER, ESCAPE, "q"):
            return replace(view, dialog=None), Errand.NOTHING
    if key in _STEPS or key in (HOME, END, "g", "G"):
        return _moved(view, key, rows), Errand.NOTHING
    act = _ACTS.get(key)
    return act(view, rows) if act else (view, Errand.NOTHING)


def _moved(view: View, key: str, rows: Rows) -> View:
    if key in (HOME, "g"):
        return view.moved(rows, 0)
    if key in (END, "G"):
        return view.moved(rows, len(rows))
    return view.moved(rows, view.number(view.pane, rows) + _STEPS[key])


def _typed(view: View, typing: Typing, key: str) -> Step:
    if key == ENTER:
        return _entered(view, typing)
    if key == ESCAPE:
        return replace(view, dialog=None, needle="" if typing.purpose == "filter" else view.needle), Errand.NOTHING
    text = typing.text
    if key == BACKSPACE:
        text = text[:-1]
    elif len(key) == 1 and key.isprintable() and len(text) < MOST_TYPED:
        text += key
    view = replace(view, dialog=replace(typing, text=text))
    return (replace(view, needle=text) if typing.purpose == "filter" else view), Errand.NOTHING


def _entered(view: View, typing: Typing) -> Step:
    if typing.purpose == "filter" or not typing.text.strip():
        return replace(view, dialog=None), Errand.NOTHING
    try:
        target = parse_network(typing.text)
    except ValueError as error:
        return replace(view, dialog=Told((str(error),), bad=True)), Errand.NOTHING
    return replace(view, dialog=Asking(BanWish(target))), Errand.WEIGH


def _answered(view: View, asking: Asking, key: str) -> Step:
    """Only an explicit yes does anything; Enter alone does not."""
    if key in ("y", "Y"):
        return view, Errand.CARRY_OUT
    wish = asking.wish
    if isinstance(wish, BanWish) and key in ("s", "+", "-", "="):
        return replace(view, dialog=replace(asking, wish=_changed(wish, key))), Errand.WEIGH
    if key in ("n", "N", "q", ESCAPE):
        return replace(view, dialog=None), Errand.NOTHING
    return view, Errand.NOTHING


def _changed(wish: BanWish, key: str) -> BanWish:
    if key == "s":
        return replace(wish, scope=Scope.NEW if wish.scope is Scope.ALL else Scope.ALL)
    position = LASTS.index(wish.lasts_s) + (-1 if key == "-" else 1)
    return replace(wish, lasts_s=LASTS[max(min(position, len(LASTS) - 1), 0)])


def _asked(view: View, wish: Wish) -> Step:
    return replace(view, dialog=Asking(wish)), Errand.WEIGH


def _ban(view: View, rows: Rows) -> Step:
    """Ask about banning the chosen target, or for one where no target is chosen.

    Where all that is known of it can be forged, the wish begins with new connections only.
    """
    row = view.chosen(rows)
    if view.pane is not Pane.TARGETS or row is None:
        return replace(view, dialog=Typing("ban")), Errand.NOTHING
    scope = Scope.NEW if row.forgeable else Scope.ALL
    return _asked(view, BanWish(parse_network(row.target), scope, forgeable=row.forgeable))


def _unban(view: View, rows: Rows) -> Step:
    row = view.chosen(rows)
    if row is None or not row.ban_id:
        why = "choose a ban first: TAB goes to the bans, the arrows choose one"
        return replace(view, dialog=Told((why,))), Errand.NOTHING
    return _asked(view, LiftWish(row.target, row.ban_id))


def _next_order(view: View, rows: Rows) -> Step:
    known, (by, _) = ORDERS[view.pane], view.order(view.pane)
    order = known[(known.index(by) + 1) % len(known)], False
    return replace(view, orders={**view.orders, view.pane: order}), Errand.NOTHING


def _other_way(view: View, rows: Rows) -> Step:
    by, other_way = view.order(view.pane)
    return replace(view, orders={**view.orders, view.pane: (by, not other_way)}), Errand.NOTHING


def _to_pane(by: int) -> Callable[[View, Rows], Step]:
    def act(view: View, rows: Rows) -> Step:
        return replace(view, pane=_PANES[(_PANES.index(view.pane) + by) % len(_PANES)], dialog=None), Errand.NOTHING

    return act


def _with(dialog: Help | Detail | Typing) -> Callable[[View, Rows], Step]:
    return lambda view, rows: (replace(view, dialog=dialog), Errand.NOTHING)


def _detail(view: View, rows: Rows) -> Step:
    return replace(view, dialog=Detail() if rows else None), Errand.NOTHING


def _pause(view: View, rows: Rows) -> Step:
    return replace(view, paused=not view.paused), Errand.NOTHING if not view.paused else Errand.LOOK


_ACTS: Final[Mapping[str, Callable[[View, Rows], Step]]] = {
    "q": lambda view, rows: (view, Errand.QUIT),
    "r": lambda view, rows: (view, Errand.LOOK),
    "?": _with(Help()),
    "h": _with(Help()),
    "/": lambda view, rows: (replace(view, dialog=Typing("filter", view.needle)), Errand.NOTHING),
    ESCAPE: lambda view, rows: (replace(view, needle="", dialog=None), Errand.NOTHING),
    ENTER: _detail,
    TAB: _to_pane(1),
    BACK_TAB: _to_pane(-1),
    "s": _next_order,
    "R": _other_way,
    "p": _pause,
    " ": _pause,
    "b": _ban,
    "B": _with(Typing("ban")),
    "u": _unban,
}

HELP: Final = (
    ("TAB", "go to the next table: listeners, sources and networks, bans"),
    ("arrows, j k", "choose a row; PgUp PgDn Home End too"),
    ("ENTER", "all that is known of the chosen row"),
    ("/", "show only rows that hold a text; ESC shows all again"),
    ("s, R", "sort by the next column; the other way round"),
    ("b, B", "ban the chosen source or network; B asks for an address"),
    ("u", "lift the chosen ban, or the ban of the chosen source"),
    ("p, space", "pause: the screen stands still, nothing else does"),
    ("r", "look again at once"),
    ("q", "quit; nothing is changed by watching"),
)
"""Keys and what they do, for people."""
