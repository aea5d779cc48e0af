"""The report as one page of HTML: no script, nothing loaded, every word of others escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from synguard import __version__
from synguard.output.tables import printable
from synguard.output.times import both_zones
from synguard.report.account import Account
from synguard.report.account_json import GENERATOR
from synguard.report.charts.host import charts_of, frame_of
from synguard.report.charts.panel import NARROW, WIDE, Chart, ChartFrame, drawn
from synguard.report.charts.scales import zone_label
from synguard.report.html_rows import (
    LIMIT_AT,
    MOST_PRINTED,
    action_rows,
    ban_rows,
    history_rows,
    hurt_rows,
    incident_rows,
    tiles,
    verdict_rows,
)
from synguard.report.judgement import judged, since_words
from synguard.report.next_steps import advice, next_command
from synguard.units import format_duration

TEMPLATE: Final = "report.html.j2"
STYLE: Final = "report.css"


def page(account: Account) -> str:
    """Return the whole page; it stays below a few megabytes whatever happened, and says what was cut."""
    judgement = judged(account)
    steps = advice(account, judgement)
    frame = frame_of(account)
    style = _shared(STYLE)
    return (
        _environment()
        .from_string(_shared(TEMPLATE))
        .render(
            generator=GENERATOR,
            version=__version__,
            style=style,
            style_hash=_hash(style),
            host=account.host,
            mode=account.mode.value,
            enforcing=account.enforced,
            span=format_duration((account.until - account.since).total_seconds()),
            since=since_words(account.since, account.until),
            until=both_zones(account.until),
            zoomed=_zoomed(account),
            zone=zone_label(account.until),
            judgement=judgement,
            tiles=tiles(account, judgement),
            next=next_command(account, judgement),
            steps=steps,
            charts=[_chart(chart, frame) for chart in charts_of(account)],
            history=history_rows(account),
            incidents=incident_rows(account),
            bans=ban_rows(account),
            spared=verdict_rows(account.spared, account.until),
            spoofed=verdict_rows(account.spoofed, account.until),
            hurt=hurt_rows(account),
            actions=action_rows(account),
            watched=account.watched,
            limit_at=LIMIT_AT,
            most_printed=MOST_PRINTED,
        )
    )


def _zoomed(account: Account) -> str:
    """Return how long a time the charts show where that is not all of it; else nothing."""
    line = account.timeline
    first, last = line.shown
    return "" if (first, last) == (line.since, line.until) else format_duration((last - first).total_seconds())


def _chart(chart: Chart, frame: ChartFrame) -> dict[str, Any]:
    return {
        "key": chart.key,
        "title": chart.title,
        "summary": chart.summary,
        "series": [{"name": one.name, "style": one.style} for one in chart.series if one.points],
        "svg": drawn(chart, frame, WIDE) + drawn(chart, frame, NARROW),
        "strip": bool(chart.strip),
        "full": bool(chart.censored),
    }


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_written_out,
    )


def _written_out(value: object) -> object:
    """Return strings with control characters written out; what is markup already is left as it is."""
    return printable(value) if type(value) is str else value


@cache
def _shared(name: str) -> str:
    return files("synguard").joinpath("share", name).read_text(encoding="utf-8")


def _hash(style: str) -> str:
    """Return what a content security policy knows an inline style sheet by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
