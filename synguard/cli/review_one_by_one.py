"""A review at a terminal: one key a ban, then what it comes to, then one yes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from synguard.addresses import format_network
from synguard.cli.context import open_context, utcnow
from synguard.cli.prompt import confirmed, one_key
from synguard.cli.review_changes import Changes, carry_out
from synguard.model import Ban
from synguard.output.tables import print_lines, printable, terminal_width
from synguard.policy.models import Config
from synguard.report.advice import Advice, AdvisedStep, Reviewed, can_be_forged
from synguard.report.review_table import candidate_line

BY_HAND_S: Final = 3600.0
"""How much longer ``e`` lets a ban last where no extension is suggested."""

MOST_WOULD_BE: Final = 10
"""Dry-run bans reported before the review of real ones begins."""

KEYS: Final = "Enter as suggested  k keep  e extend  r remove  p permanent  a all as suggested  b back  q done"
_STEPS: Final[Mapping[str, AdvisedStep]] = {
    "k": AdvisedStep.KEEP,
    "e": AdvisedStep.EXTEND,
    "r": AdvisedStep.RELEASE,
    "p": AdvisedStep.PERMANENT,
}


def one_by_one(found: Sequence[Reviewed], config: Config) -> None:
    """Ask about each ban, show what the answers come to, and do it all at once after a yes.

    Raises:
        typer.Abort: The person says no in the end; nothing was changed.
    """
    would_be = [(one, advice) for one, advice in found if one.record.ban.dry_run]
    real = [(one, advice) for one, advice in found if not one.record.ban.dry_run]
    for one, advice in would_be[:MOST_WOULD_BE]:
        _say(f"would ban {format_network(one.record.ban.target)}, not changed; had it been real: {advice}")
    if len(would_be) > MOST_WOULD_BE:
        print(f"and {len(would_be) - MOST_WOULD_BE} more dry-run bans, see synguard bans")
    if not real:
        print("no real bans to review; nothing was changed")
        return
    print(f"{len(real)} to review; nothing changes before you say so at the end")
    _say(KEYS)
    try:
        chosen = _answers(real)
    except KeyboardInterrupt:
        print("\nstopped; nothing was changed")
        raise
    changes = Changes()
    for (one, _), advice in zip(real, chosen, strict=True):
        changes.take(one.record.ban, advice)
    if changes.count:
        print("this would change:")
        print_lines(changes.preview(utcnow()))
        confirmed(f"make {changes.count_said}?", yes=False, doing="a review")
        with open_context(config) as context:
            changes = carry_out(changes, context)
    print_lines(changes.shown())


def _answers(found: Sequence[Reviewed]) -> list[Advice]:
    """Return what is to be done to each; those not reached are kept."""
    chosen: list[Advice] = []
    while len(chosen) < len(found):
        one, advice = found[len(chosen)]
        _say(f"{len(chosen) + 1}/{len(found)} {candidate_line(one, utcnow())}")
        _say(f"  suggested: {advice}")
        answer = _answer(one.record.ban)
        if answer == "a":
            print("  all others as suggested")
            chosen += [advice for _, advice in found[len(chosen) :]]
        elif answer == "q":
            chosen += [Advice(AdvisedStep.KEEP, "")] * (len(found) - len(chosen))
        elif answer == "b":
            del chosen[-1:]
        else:
            chosen.append(_as_answered(answer, advice))
            print(f"  {chosen[-1].what}")
    return chosen


def _answer(ban: Ban) -> str:
    """Return a key that can be followed for this ban."""
    while True:
        answer = one_key("kerpabq", "s")
        if answer == "p" and can_be_forged(ban):
            print("  not permanent: its evidence can be forged, and its owner may be innocent; e extends it")
        elif answer in ("e", "p") and ban.expires_at is None:
            print("  it has no end already")
        else:
            return answer


def _as_answered(answer: str, advice: Advice) -> Advice:
    if answer == "s":
        return advice
    step = _STEPS[answer]
    return Advice(step, "", (advice.by_s or BY_HAND_S) if step is AdvisedStep.EXTEND else 0.0)


def _say(text: str) -> None:
    """Print a sentence, broken between words where the terminal ends."""
    width = min(terminal_width(), 120)
    print("\n".join(textwrap.wrap(printable(text), width, subsequent_indent="    ", break_on_hyphens=False)))
