"""A review at a terminal: one key a ban, then what it comes to, then one yes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import typer

from synguard.cli.asking import one_key
from synguard.cli.review_changes import NONE, Changes, carry_out
from synguard.model import Ban
from synguard.report.advice import Advice, Step, can_be_forged
from synguard.report.tables import printable
from synguard.units import format_duration

if TYPE_CHECKING:
    from synguard.policy.models import Config
    from synguard.report.review import Candidate

BY_HAND_S: Final = 3600.0
"""How much longer ``e`` lets a ban last where no extension is suggested."""

KEYS: Final = "Enter as suggested  k keep  e extend  r release  p for good  a all as suggested  b back  q enough"
_STEPS: Final[Mapping[str, Step]] = {"k": Step.KEEP, "e": Step.EXTEND, "r": Step.RELEASE, "p": Step.PERMANENT}


def one_by_one(found: Sequence[Candidate], advised: Sequence[Advice], config: Config) -> None:
    """Ask about each ban, show what the answers come to, and do it all at once after a yes.

    Raises:
        typer.Abort: The person says no in the end; nothing was changed.
    """
    from synguard.cli.here import reaching, utcnow

    print(f"{len(found)} to review; nothing changes before you say so at the end")
    print(KEYS)
    try:
        chosen = _answers(found, advised)
    except KeyboardInterrupt:
        print("\nstopped; nothing was changed")
        raise
    changes = Changes()
    for one, advice in zip(found, chosen, strict=True):
        changes.take(one.record.ban, advice)
    if changes.count:
        print("this would change:")
        for line in changes.preview(utcnow()):
            print(line)
        typer.confirm(f"make {changes.count_said}?", abort=True)
        with reaching(config) as reach:
            changes = carry_out(changes, reach)
    for line in changes.told() if changes.count else NONE.told():
        print(line)


def _answers(found: Sequence[Candidate], advised: Sequence[Advice]) -> list[Advice]:
    """Return what is to be done to each; those not reached are kept."""
    chosen: list[Advice] = []
    while len(chosen) < len(found):
        one, advice = found[len(chosen)], advised[len(chosen)]
        _show(one, advice, len(chosen) + 1, len(found))
        if one.record.ban.dry_run:
            chosen.append(_keep())
            continue
        answer = _answer(one.record.ban, advice)
        if answer == "a":
            print("  all others as suggested")
            chosen += [as_suggested(it, that) for it, that in zip(found, advised, strict=True)][len(chosen) :]
        elif answer == "q":
            chosen += [_keep()] * (len(found) - len(chosen))
        elif answer == "b":
            _back(found, chosen)
        else:
            chosen.append(_as_answered(answer, one, advice))
            print(f"  {_said(chosen[-1])}")
    return chosen


def _back(found: Sequence[Candidate], chosen: list[Advice]) -> None:
    """Take back the last answer that was one: would-be bans are not asked about."""
    while chosen:
        chosen.pop()
        if not found[len(chosen)].record.ban.dry_run:
            return


def _answer(ban: Ban, advice: Advice) -> str:
    """Return a key that can be followed for this ban."""
    while True:
        answer = one_key("kerpabq", "s")
        if answer == "p" and can_be_forged(ban):
            print("  not for good: its evidence can be forged, and its owner may be innocent; e extends it")
        elif answer in ("e", "p") and ban.expires_at is None:
            print("  it has no end already")
        else:
            return answer


def _as_answered(answer: str, one: Candidate, advice: Advice) -> Advice:
    if answer == "s":
        return as_suggested(one, advice)
    step = _STEPS[answer]
    return Advice(step, "", (advice.by_s or BY_HAND_S) if step is Step.EXTEND else 0.0)


def as_suggested(one: Candidate, advice: Advice) -> Advice:
    """Return the suggestion, or to keep it where it is a would-be ban, which is never changed."""
    return _keep() if one.record.ban.dry_run else advice


def _keep() -> Advice:
    return Advice(Step.KEEP, "")


def _show(one: Candidate, advice: Advice, number: int, of: int) -> None:
    from synguard.cli.here import utcnow
    from synguard.report.review import candidate_line

    print(printable(f"{number}/{of} {candidate_line(one, utcnow())}"))
    if one.record.ban.dry_run:
        print(printable(f"  a would-be ban, not changed; had it been real: {advice}"))
    else:
        print(printable(f"  suggested: {advice}"))


def _said(advice: Advice) -> str:
    return f"extend by {format_duration(advice.by_s)}" if advice.step is Step.EXTEND else str(advice.step)
