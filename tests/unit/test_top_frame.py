"""The screen as lines: what is loud, what fits, and that nothing leaves its place."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.ledger.records import Figure, Stretch, Track
from synguard.model import Evidence, Mode, Signal
from synguard.status.model import IncidentStatus, SensorStatus
from synguard.top.frame import frame, plain_lines, shared_out, tables_of
from synguard.top.rows import Pane
from synguard.top.snapshot import Snapshot
from synguard.top.spans import Style, as_text, in_ascii
from synguard.top.view_state import BanWish, Detail, Help, Notice, Place, Prompt, Typing, UnbanWish, ViewState
from tests.support import bans
from tests.support.top_snapshots import NOW, listener, snapshot, status, target

ban = partial(bans.ban, start=NOW)
SIX = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"

BUSY = snapshot(
    [ban(f"b{n}", f"203.0.113.{n}", ports=(80,)) for n in range(60)] + [ban("six", SIX, seconds=30)],
    packets=1500,
    before=1000,
    status=status(
        pressure=tuple(listener(port, 129) for port in range(80, 100)),
        targets=tuple(target(f"198.51.100.{n}", float(n)) for n in range(20)),
        problems=("sensor half_open: ENOBUFS",),
        healthy=False,
        sensors={"half_open": SensorStatus(ok=False, detail="ENOBUFS"), "counters": SensorStatus(ok=True)},
    ),
)

DIALOGS = [
    None,
    Help(),
    Detail(),
    Typing("filter", "203"),
    Typing("ban", "203.0.113.9"),
    Prompt(UnbanWish("203.0.113.1", "b1"), ("it was banned because of much",)),
    Prompt(BanWish(ban("x", "203.0.113.9").target, forgeable=True)),
    Notice(("it is refused: " + "a very long reason " * 20,), bad=True),
]


def text(seen: Snapshot, view_state: ViewState = ViewState(), width: int = 80, height: int = 24) -> str:  # noqa: B008  # frozen
    return "\n".join(as_text(line) for line in frame(seen, view_state, tables_of(seen, view_state), width, height))


def test_80_columns_show_rates_reasons_and_the_last_minutes() -> None:
    seen = snapshot([replace(ban("b1", "203.0.113.7"), reason="syn_rate 5,113/s / 250")], packets=1500, before=1000)
    calm = Stretch(NOW - timedelta(minutes=2), 10.0, 10.0, tracks={Figure.HALF_OPEN: Track(10.0, 10.0, 1.0, 1.0)})
    flood = replace(calm, at=NOW - timedelta(minutes=1), tracks={Figure.HALF_OPEN: Track(10.0, 990.0, 99.0, 99.0)})
    lines = text(replace(seen, lately=(calm, flood))).splitlines()
    (history,) = [one for one in lines if one.startswith("5m SYN/s ")]
    assert ("▁" in history, "█" in history, len(history)) == (True, True, 80)
    (row,) = [one for one in lines if "203.0.113.7" in one]
    assert ("500" in row, "syn_rate 5,113/s" in row) == (True, True)


def test_dry_run_shows_who_is_over_a_limit_and_what_it_would_do() -> None:
    would = replace(ban("b1", "203.0.113.7", dry_run=True), score=240.0, evidence=(Evidence(Signal.SYN_RATE, 90, 25),))
    shown = text(snapshot([would], status=status(mode=Mode.DRY_RUN)))
    assert "SOURCES 1" in shown
    assert "WOULD BAN 1" in shown
    (source,) = [one for one in shown.splitlines() if one.lstrip().startswith("240 ")]
    assert "would ban" in source
    assert "syn_rate 90/s / 25" in source
    assert "WOULD BAN" not in text(snapshot([would, ban("b2", "203.0.113.8")]))


@settings(max_examples=40)
@given(
    width=st.integers(0, 300),
    height=st.integers(0, 100),
    dialog=st.sampled_from(DIALOGS),
    pane=st.sampled_from(Pane),
    number=st.integers(0, 100),
)
def test_no_size_and_no_dialog_leaves_the_screen(
    width: int, height: int, dialog: object, pane: Pane, number: int
) -> None:
    view_state = ViewState(pane, {pane: Place("", number)}, dialog=dialog)  # type: ignore[arg-type]  # one of DIALOGS
    lines = frame(BUSY, view_state, tables_of(BUSY, view_state), width, height)
    assert len(lines) <= height
    for line in lines:
        shown = "".join(span.text for span in line)
        assert len(shown) <= width
        assert shown.isprintable()
        assert len("".join(span.text for span in in_ascii(line))) == len(shown)


def test_80_by_24_shows_mode_rates_problems_every_table_and_the_keys() -> None:
    lines = text(BUSY).splitlines()
    assert len(lines) == 24
    shown = "\n".join(lines)
    for word in ("ENFORCING", "SYN/s 10.0k", "NOT HEALTHY", "problem: sensor half_open", "LISTENERS 20", "SOURCES 20",
                 "BANS 61", "? help"):  # fmt: skip
        assert word in shown
    assert SIX in shown, "an address is never cut"


def test_the_chosen_row_is_always_in_sight() -> None:
    view_state = ViewState().moved(tables_of(BUSY, ViewState()).rows[Pane.BANS], 40)
    lines = frame(BUSY, view_state, tables_of(BUSY, view_state), 80, 24)
    (shown,) = [line for line in lines if line and line[0].style is Style.CHOSEN]
    chosen = view_state.chosen(tables_of(BUSY, view_state).rows[Pane.BANS])
    assert chosen is not None
    assert chosen.target in shown[0].text


def test_a_dry_run_a_trial_and_no_agent_are_loud_without_any_colour() -> None:
    trial = status(confirm_by=NOW + timedelta(seconds=90))
    cases = {
        "DRY-RUN: nothing is blocked": snapshot(status=status(mode=Mode.DRY_RUN)),
        "ON TRIAL: dry-run again in 1m 30s": snapshot(status=trial),
        "NO AGENT RUNS": snapshot(running=False, status=None),
        "THE AGENT REPORTS NOTHING": snapshot(running=True, status=None),
    }
    for words, seen in cases.items():
        (loud,) = [span for line in frame(seen, ViewState(), tables_of(seen, ViewState()), 80, 24) for span in line
                   if span.style is Style.LOUD]  # fmt: skip
        assert words in loud.text


def test_a_pause_is_loud() -> None:
    assert "PAUSED" in text(BUSY, ViewState(paused=True))


def test_no_agent_is_told_once_with_the_command_that_starts_one() -> None:
    shown = text(snapshot(running=False, status=status()), width=120)
    assert shown.count("floods are not detected") == 1
    assert "synguard run" in shown


def test_an_incident_and_its_verdict_are_told() -> None:
    incident = IncidentStatus(
        id="b99e", phase="attack", kind="syn-flood", started_at=NOW - timedelta(seconds=65), note="", bans=2, spared=1
    )
    shown = text(snapshot(status=status(incidents=(incident,), verdict="spoofed: about 40,000 sources")))
    assert "incident b99e: syn-flood, attack for 1m 5s, 2 bans, 1 spared" in shown
    assert "verdict: spoofed" in shown


def test_names_of_others_never_reach_the_terminal_as_they_are() -> None:
    evil = snapshot(status=status(pressure=(listener(80, process="evil\x1b]0;title\x07[7]"),)))
    shown = text(evil)
    assert "\x1b" not in shown
    assert "\\x1b" in shown


def test_lines_are_shared_out_and_the_table_in_use_gets_more() -> None:
    wanted = {Pane.LISTENERS: 3, Pane.TARGETS: 21, Pane.BANS: 60}
    heights = shared_out(wanted, Pane.BANS, 18)
    assert sum(heights.values()) == 18
    assert heights[Pane.BANS] > heights[Pane.TARGETS] >= heights[Pane.LISTENERS] == 3
    assert shared_out(wanted, Pane.TARGETS, 18)[Pane.TARGETS] > heights[Pane.TARGETS]
    assert shared_out(wanted, Pane.BANS, 500) == wanted


def test_a_snapshot_holds_every_listener_and_bans_up_to_a_number() -> None:
    lines = [as_text(line) for line in plain_lines(BUSY, 5, 200)]
    assert sum("nginx[7]" in line for line in lines) == 20
    assert lines[-1] == "and 56 more bans, see synguard bans"


def test_the_help_fits_eighty_columns() -> None:
    """Its explanations were cut off at the right edge."""
    shown = " ".join(
        as_text(one).strip() for one in frame(BUSY, ViewState(dialog=Help()), tables_of(BUSY, ViewState()), 80, 40)
    )
    assert "the queue is full and hides the true count. ACCEPT: connections that wait for the application;" in shown
    assert "PER S since the last refresh. NOT IN KERNEL: it stops nothing." in shown
