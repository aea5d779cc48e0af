"""What a key does: a view and a key give another view, and perhaps something to be done; nothing is done here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, TypeAlias

from synguard.addresses import parse_network
from synguard.model import Scope
from synguard.top.rows import ORDERS, Pane, Row
from synguard.top.view_state import (
    LASTS,
    MOST_TYPED,
    BanWish,
    Detail,
    Help,
    Notice,
    Prompt,
    Typing,
    UnbanWish,
    ViewState,
    Wish,
)


class KeyEffect(StrEnum):
    """What there is to be done for a key."""

    NOTHING = "nothing"
    QUIT = "quit"
    LOOK = "look"
    """Look again at once."""
    WEIGH = "weigh"
    """Tell what the wish in the dialog would hit, or why it is refused."""
    CARRY_OUT = "carry out"
    """Do what the wish in the dialog says: a person said yes."""


Step: TypeAlias = tuple[ViewState, KeyEffect]
Rows: TypeAlias = Sequence[Row]

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE, BACKSPACE, TAB, BACK_TAB = "enter", "escape", "backspace", "tab", "back tab"
PAGE: Final = 10

_STEPS: Final[Mapping[str, int]] = {UP: -1, DOWN: 1, PAGE_UP: -PAGE, PAGE_DOWN: PAGE, "k": -1, "j": 1}
_PANES: Final = tuple(Pane)


def press(view_state: ViewState, key: str, rows: Rows) -> Step:
    """Return what becomes of a view by a key; ``rows`` are those of the table that the keys go to.

    ``key`` is a character, or the name of a key.
    """
    match view_state.dialog:
        case Typing() as typing:
            return _typed(view_state, typing, key)
        case Prompt() as asking:
            return _answered(view_state, asking, key)
        case Help() | Notice():
            return replace(view_state, dialog=None), KeyEffect.NOTHING
        case Detail() if key in (ENTER, ESCAPE, "q"):
            return replace(view_state, dialog=None), KeyEffect.NOTHING
    if key in _STEPS or key in (HOME, END, "g", "G"):
        return _moved(view_state, key, rows), KeyEffect.NOTHING
    act = _ACTS.get(key)
    return act(view_state, rows) if act else (view_state, KeyEffect.NOTHING)


def _moved(view_state: ViewState, key: str, rows: Rows) -> ViewState:
    if key in (HOME, "g"):
        return view_state.moved(rows, 0)
    if key in (END, "G"):
        return view_state.moved(rows, len(rows))
    return view_state.moved(rows, view_state.number(view_state.pane, rows) + _STEPS[key])


def _typed(view_state: ViewState, typing: Typing, key: str) -> Step:
    if key == ENTER:
        return _entered(view_state, typing)
    if key == ESCAPE:
        return replace(
            view_state, dialog=None, needle="" if typing.purpose == "filter" else view_state.needle
        ), KeyEffect.NOTHING
    text = typing.text
    if key == BACKSPACE:
        text = text[:-1]
    elif len(key) == 1 and key.isprintable() and len(text) < MOST_TYPED:
        text += key
    view_state = replace(view_state, dialog=replace(typing, text=text))
    return (replace(view_state, needle=text) if typing.purpose == "filter" else view_state), KeyEffect.NOTHING


def _entered(view_state: ViewState, typing: Typing) -> Step:
    if typing.purpose == "filter" or not typing.text.strip():
        return replace(view_state, dialog=None), KeyEffect.NOTHING
    try:
        target = parse_network(typing.text)
    except ValueError as error:
        return replace(view_state, dialog=Notice((str(error),), bad=True)), KeyEffect.NOTHING
    return replace(view_state, dialog=Prompt(BanWish(target))), KeyEffect.WEIGH


def _answered(view_state: ViewState, asking: Prompt, key: str) -> Step:
    """Only an explicit yes does anything; Enter alone does not."""
    if key in ("y", "Y"):
        return view_state, KeyEffect.CARRY_OUT
    wish = asking.wish
    if isinstance(wish, BanWish) and key in ("s", "+", "-", "="):
        return replace(view_state, dialog=replace(asking, wish=_changed(wish, key))), KeyEffect.WEIGH
    if key in ("n", "N", "q", ESCAPE):
        return replace(view_state, dialog=None), KeyEffect.NOTHING
    return view_state, KeyEffect.NOTHING


def _changed(wish: BanWish, key: str) -> BanWish:
    if key == "s":
        return replace(wish, scope=Scope.NEW if wish.scope is Scope.ALL else Scope.ALL)
    position = LASTS.index(wish.lasts_s) + (-1 if key == "-" else 1)
    return replace(wish, lasts_s=LASTS[max(min(position, len(LASTS) - 1), 0)])


def _asked(view_state: ViewState, wish: Wish) -> Step:
    return replace(view_state, dialog=Prompt(wish)), KeyEffect.WEIGH


def _ban(view_state: ViewState, rows: Rows) -> Step:
    """Ask about banning the chosen target, or for one where no target is chosen.

    Where all that is known of it can be forged, the wish begins with new connections only.
    """
    row = view_state.chosen(rows)
    if view_state.pane is not Pane.TARGETS or row is None:
        return replace(view_state, dialog=Typing("ban")), KeyEffect.NOTHING
    scope = Scope.NEW if row.forgeable else Scope.ALL
    return _asked(view_state, BanWish(parse_network(row.target), scope, forgeable=row.forgeable))


def _unban(view_state: ViewState, rows: Rows) -> Step:
    row = view_state.chosen(rows)
    if row is None or not row.ban_id:
        why = "choose a ban first: TAB goes to the bans, the arrows choose one"
        return replace(view_state, dialog=Notice((why,))), KeyEffect.NOTHING
    return _asked(view_state, UnbanWish(row.target, row.ban_id))


def _next_order(view_state: ViewState, rows: Rows) -> Step:
    known, (by, _) = ORDERS[view_state.pane], view_state.order(view_state.pane)
    order = known[(known.index(by) + 1) % len(known)], False
    return replace(view_state, orders={**view_state.orders, view_state.pane: order}), KeyEffect.NOTHING


def _other_way(view_state: ViewState, rows: Rows) -> Step:
    by, other_way = view_state.order(view_state.pane)
    return replace(view_state, orders={**view_state.orders, view_state.pane: (by, not other_way)}), KeyEffect.NOTHING


def _to_pane(by: int) -> Callable[[ViewState, Rows], Step]:
    def act(view_state: ViewState, rows: Rows) -> Step:
        return replace(
            view_state, pane=_PANES[(_PANES.index(view_state.pane) + by) % len(_PANES)], dialog=None
        ), KeyEffect.NOTHING

    return act


def _with(dialog: Help | Detail | Typing) -> Callable[[ViewState, Rows], Step]:
    return lambda view_state, rows: (replace(view_state, dialog=dialog), KeyEffect.NOTHING)


def _detail(view_state: ViewState, rows: Rows) -> Step:
    return replace(view_state, dialog=Detail() if rows else None), KeyEffect.NOTHING


def _pause(view_state: ViewState, rows: Rows) -> Step:
    return replace(
        view_state, paused=not view_state.paused
    ), KeyEffect.NOTHING if not view_state.paused else KeyEffect.LOOK


_ACTS: Final[Mapping[str, Callable[[ViewState, Rows], Step]]] = {
    "q": lambda view_state, rows: (view_state, KeyEffect.QUIT),
    "r": lambda view_state, rows: (view_state, KeyEffect.LOOK),
    "?": _with(Help()),
    "h": _with(Help()),
    "/": lambda view_state, rows: (replace(view_state, dialog=Typing("filter", view_state.needle)), KeyEffect.NOTHING),
    ESCAPE: lambda view_state, rows: (replace(view_state, needle="", dialog=None), KeyEffect.NOTHING),
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
    ("ENTER", "show all that is known about the row"),
    ("/", "show only rows with a text; ESC shows all"),
    ("s, R", "sort by the next column; the other way round"),
    ("b, B", "ban the chosen source or network; B asks for an address"),
    ("u", "unban the chosen ban or source"),
    ("p, space", "pause the screen; the agent continues"),
    ("r", "refresh now"),
    ("q", "quit; watching changes nothing"),
)
"""Keys and what they do, for people."""
