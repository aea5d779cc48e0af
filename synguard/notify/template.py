"""The text of messages: plain, short, readable on a phone; the last line is what to type next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from synguard.notify.message import About, AttackFigures, Message, made
from synguard.plain import count
from synguard.units import format_duration

KINDS: Final = {
    "syn-flood": "SYN flood",
    "connection-flood": "connection flood",
    "spoofed-flood": "SYN flood with forged sources",
    "closed-port": "flood on ports that nothing listens on",
    "resets": "SYN flood from hosts that answer with resets",
}
HEADINGS: Final = {
    About.SUSPENDED: "automatic bans are suspended",
    About.BUDGET: "the budget for bans is spent",
    About.PLANE: "bans do not reach the kernel",
    About.REPAIRS: "another tool keeps removing our rules",
    About.LEAK: "banned, but still arriving",
    About.UNHEALTHY: "synguard is not healthy",
    About.PEER: "a peer of the fleet does not answer",
    About.COOKIES: "SYN cookies are on",
}
"""State → how a message about it is headed."""
ADVICE: Final = {
    About.SUSPENDED: "mend what it names; bans resume by themselves. Look: synguard doctor",
    About.BUDGET: "is this an attack, or a policy too strict? Look: synguard report --since 1h",
    About.PLANE: "it is tried again and again. Look: synguard doctor",
    About.REPAIRS: "find the firewall script that flushes our chains. Look: synguard report --since 1h",
    About.LEAK: "move the rule it names behind our jump. Look: synguard status",
    About.UNHEALTHY: "look: synguard status",
    About.PEER: "known decisions stay until their end. Look: synguard fleet",
    About.COOKIES: "nothing; your value comes back at calm. Look: synguard status",
}


@dataclass(frozen=True, slots=True)
class More:
    """What goes into a message beside the attack's own figures."""

    utc: datetime
    served: str
    states: tuple[tuple[About, str], ...] = ()
    untold: int = 0
    """Attacks since the last message that were not reported one by one."""


def start(host: str, attack: AttackFigures, more: More) -> Message:
    """Return the message that an attack began."""
    return _going(About.START, host, attack, more, "began")


def grown(host: str, attack: AttackFigures, more: More, *, larger: bool) -> Message:
    """Return the message that an attack is much larger than was reported, or has come to other ports."""
    how = "has grown tenfold" if larger else "has come to other ports"
    return _going(About.GROWN, host, attack, more, how)


def digest(host: str, attack: AttackFigures, more: More) -> Message:
    """Return the message that an attack goes on."""
    lasted = format_duration(max((more.utc - attack.started_at).total_seconds(), 0.0))
    return _going(About.DIGEST, host, attack, more, f"goes on, {lasted} so far")


def end(host: str, attack: AttackFigures, more: More) -> Message:
    """Return the message that an attack is over."""
    until = attack.ended_at or more.utc
    lasted = format_duration(max((until - attack.started_at).total_seconds(), 0.0))
    gone = ["it ended while no agent ran, at the latest then"] if attack.restarts and attack.incidents == 0 else []
    lines = [f"{_when(attack.started_at)} to {_when(until)}, {lasted}{_on(attack)}", *gone, *_facts(attack, more)]
    lines.append("look: synguard report --since 24h")
    return made(About.END, more.utc, f"{host}: {_kind(attack)} is over", lines, attack, more.states)


def summary(host: str, utc: datetime, untold: int) -> Message:
    """Return the message that tells of attacks which there was no room to tell one by one."""
    lines = [
        f"{untold} since the last message, each over by now; too many for a message each",
        "look: synguard report --since 24h",
    ]
    return made(About.DIGEST, utc, f"{host}: {untold} short attacks", lines)


def states(host: str, utc: datetime, told: tuple[tuple[About, str], ...]) -> Message:
    """Return the message that one state or several began."""
    first = told[0][0]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    lines = [line for about, text in told for line in (text, f"what to do: {ADVICE[about]}")]
    return made(first, utc, f"{host}: {HEADINGS[first]}{more}", lines, None, told)


def over(host: str, utc: datetime, ended: tuple[tuple[About, str], ...]) -> Message:
    """Return the message that states are over."""
    lines = [f"over: {HEADINGS[about]} ({text})" for about, text in ended]
    return made(About.OVER, utc, f"{host}: no longer: {HEADINGS[ended[0][0]]}", lines, None, ended)


def report(host: str, utc: datetime, span: str, sentences: list[str]) -> Message:
    """Return the message that a report comes with."""
    return made(About.REPORT, utc, f"{host}: synguard report, {span}", sentences)


def trial(host: str, utc: datetime) -> Message:
    """Return a message that says it is a test."""
    lines = ["This is a test: nothing is wrong.", "It was sent by: synguard notify test"]
    return made(About.TEST, utc, f"{host}: TEST of synguard's messages", lines)


def _going(about: About, host: str, attack: AttackFigures, more: More, how: str) -> Message:
    """Return a message about an attack under way."""
    since = f"since {_when(attack.started_at)}{_on(attack)}"
    lines = [since, *_facts(attack, more), _to_do(attack), "look: synguard status"]
    return made(about, more.utc, f"{host}: {_kind(attack)} {how}", lines, attack, more.states)


def _facts(attack: AttackFigures, more: More) -> list[str]:
    bans = count(attack.bans, "dry-run ban" if attack.dry_run else "ban")
    stopped = " (nothing is stopped)" if attack.dry_run else ""
    often = f"; it came {attack.incidents} times" if attack.incidents > 1 else ""
    lines = [f"{bans}{stopped}, {attack.spared:,} spared{often}"]
    lines.append(f"peak {attack.peak_half_open:,} half-open, {attack.peak_syn_pps:,.0f} SYN/s")
    if attack.ended_at is None:
        lines.append(more.served)
    lines += [text for _, text in more.states]
    if attack.restarts:
        lines.append("the agent was restarted meanwhile")
    if more.untold:
        lines.append(f"also since the last message: {more.untold} short attacks")
    return lines


def _to_do(attack: AttackFigures) -> str:
    if attack.kind == "spoofed-flood":
        return "what to do: nothing; sources are forged, so no source is banned; SYN cookies carry it"
    if attack.dry_run:
        return "what to do: read the report; to stop such attacks: synguard enable --confirm-within 5m"
    return "what to do: nothing, bans end by themselves"


def _kind(attack: AttackFigures) -> str:
    return KINDS.get(attack.kind, attack.kind)


def _on(attack: AttackFigures) -> str:
    return f", on port {', '.join(attack.ports)}" if attack.ports else ""


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
