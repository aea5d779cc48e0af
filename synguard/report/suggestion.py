"""Suggested policies as a pack that loads, each number with its argument, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from synguard.addresses import format_network
from synguard.incidents import Incident
from synguard.jsonable import fields_of
from synguard.model import Signal
from synguard.plain import listed, printable
from synguard.policy.show import show_policies, toml_value
from synguard.replay.suggestion import Line, Margin, Suggestion
from synguard.units import format_duration

_WIDTH: Final = 118
_TABLES: Final = ("limits", "prefix_limits")


@dataclass(frozen=True, slots=True)
class Basis:
    """What suggestions rest on."""

    files: tuple[str, ...]
    recorded_s: float
    calm_s: float
    margin: Margin
    left_out: tuple[Incident, ...]
    """Incidents that the policies in effect saw, whose time was not measured."""
    highest_score: float
    """Of the suggested policies over the calm time."""
    bans: int
    """Of the suggested policies over the calm time."""
    warnings: tuple[str, ...]


def suggestion_shape(suggestions: Sequence[Suggestion], basis: Basis) -> dict[str, Any]:
    """Return suggestions as JSON; ``pack`` is the policy file."""
    return {
        "files": list(basis.files),
        "recorded_s": round(basis.recorded_s, 3),
        "calm_s": round(basis.calm_s, 3),
        "margin": fields_of(basis.margin, "factor why"),
        "left_out": [fields_of(one, "kind started_at ended_at") for one in basis.left_out],
        "tried": {"bans": basis.bans, "highest_score": round(basis.highest_score, 1)},
        "warnings": list(basis.warnings),
        "policies": [
            {
                "name": one.policy.name,
                "enough_traffic": one.enough,
                "sources": one.seen,
                "limits": {signal: _line_shape(line) for signal, line in one.sources.items()},
                "prefix_limits": {signal: _line_shape(line) for signal, line in one.prefixes.items()},
            }
            for one in suggestions
        ],
        "pack": pack_text(suggestions, basis),
    }


def pack_text(suggestions: Sequence[Suggestion], basis: Basis) -> str:
    """Return a policy file that loads: every value of each policy, and over each suggested limit what it rests on."""
    text = "".join(_comment(line) for line in _preface(basis))
    for one in suggestions:
        text += "\n" + "".join(_policy_lines(one))
    return text


def _preface(basis: Basis) -> Iterator[str]:
    yield "Limits suggested by synguard from recorded traffic. Read the arguments, then try them with synguard run."
    yield f"Recorded: {format_duration(basis.recorded_s)} in {', '.join(basis.files)}."
    yield f"Margin {basis.margin.why}."
    yield (
        "A limit stands that many times above what the loudest source or prefix showed as a mean over its hold: one as "
        f"loud as that again gets at most score {100 / basis.margin.factor:.0f} of 100."
    )
    if basis.left_out:
        which = listed([_incident(one) for one in basis.left_out], 5, "; ")
        yield f"Left out as attacks by the policies in effect: {which}."
    yield f"Tried on the same calm time: {basis.bans} bans, highest score {basis.highest_score:.0f} of 100."
    for warning in basis.warnings:
        yield f"WARNING: {warning}."


def _policy_lines(one: Suggestion) -> Iterator[str]:
    """Yield the policy's TOML with comments above its limits."""
    table = ""
    lines: Mapping[str, Mapping[Signal, Line]] = {"limits": one.sources, "prefix_limits": one.prefixes}
    if not one.enough:
        yield _comment(f"Too little traffic on these ports ({one.seen} sources): all values are as they were.")
    for line in show_policies([one.policy]).splitlines(keepends=True):
        if line.startswith("["):
            table = line.strip("[]\n").rpartition(".")[2]
        key = line.partition(" = ")[0]
        argued = lines[table] if table in _TABLES else {}
        for signal, argument in argued.items():
            if key == signal.value:
                yield "".join(_comment(sentence) for sentence in argument.argument)
                line = f"{key} = {_number(argument.limit)}\n"
        yield line


def _number(value: float) -> str:
    return toml_value(int(value) if value == int(value) else value)


def _line_shape(line: Line) -> dict[str, Any]:
    seen = line.figures
    shown = None
    if seen is not None:
        shown = {
            "targets": seen.targets,
            **{name: round(getattr(seen, name), 3) for name in ("p50", "p90", "p99", "p999")},
            "max": round(seen.peak, 3),
            "loudest": format_network(seen.loudest),
        }
    return {"limit": line.limit, "because": " ".join(line.argument), "seen": shown}


def _comment(sentence: str) -> str:
    words = printable(sentence)
    return "".join(f"# {line}\n" for line in textwrap.wrap(words, _WIDTH, break_on_hyphens=False))


def _incident(one: Incident) -> str:
    ended = f"{one.ended_at:%H:%M:%S}" if one.ended_at else "the end"
    return f"{one.started_at:%Y-%m-%d %H:%M:%S} to {ended} UTC ({one.kind})"


def shown(warnings: Iterable[str]) -> list[str]:
    """Return warnings as lines for people."""
    return [printable(f"warning: {warning}") for warning in warnings]
