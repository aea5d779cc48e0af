"""What keys do: where one goes, what is sorted and filtered, and that nothing is done without a yes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from synguard.model import Scope
from synguard.top.ban_rows import rows_of
from synguard.top.keys import HELP, KeyEffect, press
from synguard.top.rows import Pane, Row, arranged
from synguard.top.view_state import BanWish, Detail, Help, Notice, Prompt, Typing, UnbanWish, ViewState
from tests.support import bans
from tests.support.top_snapshots import NOW, snapshot, status, target

ban = partial(bans.ban, start=NOW)

SEEN = snapshot(
    [ban("a", "203.0.113.1", seconds=60), ban("b", "203.0.113.2", seconds=90), ban("c", "203.0.113.3", seconds=120)],
    status=status(targets=(target("198.51.100.1"), target("198.51.100.2", 50.0, forgeable=False))),
)


def rows(view_state: ViewState) -> Sequence[Row]:
    return arranged(rows_of(SEEN, view_state.pane), view_state.order(view_state.pane), view_state.needle)


def pressed(*keys: str, view_state: ViewState = ViewState()) -> tuple[ViewState, KeyEffect]:  # noqa: B008  # frozen
    effect = KeyEffect.NOTHING
    for key in keys:
        view_state, effect = press(view_state, key, rows(view_state))
    return view_state, effect


def chosen(view_state: ViewState) -> str:
    row = view_state.chosen(rows(view_state))
    assert row is not None
    return row.key


def test_arrows_choose_a_row_and_stop_at_the_ends() -> None:
    assert chosen(ViewState()) == "a"
    assert chosen(pressed("down", "j", "down", "down")[0]) == "c"
    assert chosen(pressed("end", "up", "k", "up")[0]) == "a"
    assert chosen(pressed("page down")[0]) == "c"
    assert chosen(pressed("G", "g")[0]) == "a"


def test_the_chosen_row_stays_chosen_where_the_order_changes() -> None:
    view_state, _ = pressed("down", "R")
    assert [row.key for row in rows(view_state)] == ["c", "b", "a"]
    assert chosen(view_state) == "b"


def test_where_the_chosen_row_is_gone_the_one_in_its_place_is_chosen() -> None:
    view_state, _ = pressed("down")
    left = [row for row in rows(view_state) if row.key != "b"]
    assert view_state.chosen(left) is left[1]
    assert view_state.chosen(left[:1]) is left[0]
    assert view_state.chosen([]) is None


def test_tab_walks_through_the_tables_and_back() -> None:
    assert [pressed(*["tab"] * n)[0].pane for n in range(4)] == [Pane.BANS, Pane.LISTENERS, Pane.TARGETS, Pane.BANS]
    assert pressed("back tab")[0].pane is Pane.TARGETS


def test_s_walks_through_the_orders_of_the_table_in_use() -> None:
    view_state, _ = pressed("s")
    assert view_state.order(Pane.BANS) == ("packets", False)
    assert view_state.order(Pane.TARGETS) == ("score", False)
    assert pressed(*"sssss")[0].order(Pane.BANS) == ("left", False)


def test_the_filter_holds_while_it_is_typed_and_escape_clears_it() -> None:
    view_state, _ = pressed("/", *"113.2")
    assert [row.key for row in rows(view_state)] == ["b"]
    assert isinstance(view_state.dialog, Typing)
    assert pressed("backspace", view_state=view_state)[0].needle == "113."
    kept, _ = pressed("enter", view_state=view_state)
    assert (kept.dialog, kept.needle) == (None, "113.2")
    assert pressed("escape", view_state=kept)[0].needle == ""
    assert pressed("escape", view_state=view_state)[0].needle == ""


def test_letters_typed_into_the_filter_are_no_commands() -> None:
    view_state, effect = pressed("/", *"quit")
    assert (view_state.needle, effect) == ("quit", KeyEffect.NOTHING)


@pytest.mark.parametrize("keys", [("u",), ("tab", "tab", "b"), ("B", *"203.0.113.9", "enter")], ids=" ".join)
def test_a_change_is_weighed_first_and_done_only_after_yes(keys: tuple[str, ...]) -> None:
    view_state, effect = pressed(*keys)
    assert isinstance(view_state.dialog, Prompt)
    assert effect is KeyEffect.WEIGH
    for no in ("n", "N", "q", "escape"):
        refused, effect = pressed(no, view_state=view_state)
        assert (refused.dialog, effect) == (None, KeyEffect.NOTHING)
    for neither in ("enter", "x", " ", "down", "u"):
        assert pressed(neither, view_state=view_state) == (view_state, KeyEffect.NOTHING)
    assert pressed("y", view_state=view_state) == (view_state, KeyEffect.CARRY_OUT)


def test_u_lifts_the_chosen_ban() -> None:
    view_state, _ = pressed("down", "u")
    assert view_state.dialog == Prompt(UnbanWish("203.0.113.2", "b"))


def test_u_says_what_to_do_where_no_ban_is_chosen() -> None:
    view_state, effect = pressed("tab", "u")
    assert isinstance(view_state.dialog, Notice)
    assert effect is KeyEffect.NOTHING


def test_what_can_be_forged_is_offered_a_ban_of_new_connections_and_the_rest_one_of_everything() -> None:
    forged, _ = pressed("tab", "tab", "b")
    assert isinstance(forged.dialog, Prompt)
    assert isinstance(forged.dialog.wish, BanWish)
    assert (str(forged.dialog.wish.target), forged.dialog.wish.scope) == ("198.51.100.1/32", Scope.NEW)
    shaken, _ = pressed("tab", "tab", "down", "b")
    assert isinstance(shaken.dialog, Prompt)
    assert isinstance(shaken.dialog.wish, BanWish)
    assert shaken.dialog.wish.scope is Scope.ALL


def test_reach_and_time_of_a_ban_can_be_changed_and_are_weighed_anew() -> None:
    view_state, _ = pressed("B", *"203.0.113.9", "enter")
    longer, effect = pressed("s", "+", view_state=view_state)
    assert isinstance(longer.dialog, Prompt)
    assert str(longer.dialog.wish) == "ban 203.0.113.9 for 6h, new connections only"
    assert effect is KeyEffect.WEIGH
    shortest, _ = pressed(*"-----", view_state=view_state)
    assert isinstance(shortest.dialog, Prompt)
    assert "for 10m" in str(shortest.dialog.wish)


def test_a_word_that_is_no_address_is_told_and_nothing_is_weighed() -> None:
    view_state, effect = pressed("B", *"203.0.113.7/24", "enter")
    assert isinstance(view_state.dialog, Notice)
    assert "did you mean 203.0.113.0/24?" in view_state.dialog.lines[0]
    assert effect is KeyEffect.NOTHING
    assert pressed("B", "enter")[0].dialog is None


def test_detail_follows_the_chosen_row_and_closes() -> None:
    view_state, _ = pressed("enter", "down")
    assert (view_state.dialog, chosen(view_state)) == (Detail(), "b")
    assert pressed("q", view_state=view_state) == (pressed("escape", view_state=view_state)[0], KeyEffect.NOTHING)


def test_pause_looks_again_when_it_ends() -> None:
    view_state, effect = pressed("p")
    assert (view_state.paused, effect) == (True, KeyEffect.NOTHING)
    assert pressed(" ", view_state=view_state)[1] is KeyEffect.LOOK


def test_q_quits_and_unknown_keys_do_nothing() -> None:
    assert pressed("q")[1] is KeyEffect.QUIT
    assert pressed("x", "ö", "backspace") == (ViewState(), KeyEffect.NOTHING)


def test_every_key_of_the_help_is_a_key() -> None:
    names = {"TAB": "tab", "arrows": "down", "ENTER": "enter", "space": " "}
    for words, _ in HELP:
        for word in words.replace(",", " ").split():
            assert pressed(names.get(word, word)) != (ViewState(), KeyEffect.NOTHING), word
    assert pressed("?")[0].dialog == Help()
