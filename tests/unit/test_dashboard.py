"""The dashboard, the alert rules and the page of metrics: each names what there is, and all that there is is told."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from synguard.metrics.exposition import Exposition
from synguard.metrics.table import SERIES
from synguard.units import parse_duration
from tests.support.pages import ROOT, commands
from tests.support.top_snapshots import status

DASHBOARD = ROOT / "synguard/share/grafana/synguard.json"
RULES = ROOT / "synguard/share/prometheus/alerts.yml"
PAGE = ROOT / "docs/metrics.md"
OF_PROMETHEUS = {"instance", "job"}
"""Labels that every scraped sample has."""
LABELS: dict[str, set[str]] = {one.name: set(one.labels) | OF_PROMETHEUS for one in SERIES} | {"up": OF_PROMETHEUS}


@cache
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def targets() -> list[tuple[str, str, str]]:
    """(panel, expression, legend) of the whole dashboard, its annotations included."""
    of_panels = [(p["title"], t["expr"], t["legendFormat"]) for p in dashboard()["panels"] for t in p["targets"]]
    return [*of_panels, *((a["name"], a["expr"], a["titleFormat"]) for a in dashboard()["annotations"]["list"])]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def parsed(expression: str) -> Any:
    return promql_parser.parse(expression.replace("$__rate_interval", "1m").replace("$instance", ".+"))


def below(node: Any) -> Iterator[Any]:
    """The node and all that it is made of."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None:
            yield from below(child)
    for child in getattr(node, "args", ()) or ():
        yield from below(child)


def selectors(node: Any) -> list[Any]:
    return [one for one in below(node) if isinstance(one, promql_parser.VectorSelector)]


def faults(expression: str) -> list[str]:
    """What an expression names that is not there: metrics, labels to match, labels to group by, values of labels."""
    tree = parsed(expression)
    found = [f"no metric {one.name}" for one in selectors(tree) if one.name not in LABELS]
    for one in selectors(tree):
        for matcher in one.matchers.matchers:
            if matcher.name not in LABELS.get(one.name, set()):
                found.append(f"{one.name} has no label {matcher.name}")
    for node in below(tree):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            has = set.union(*(LABELS.get(one.name, set()) for one in selectors(node)))
            found += [f"nothing to group by {label}" for label in node.modifier.labels if label not in has]
        if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase"):
            found += [f"{one.name} is no counter" for one in selectors(node) if not one.name.endswith("_total")]
    return found


def labels_left(node: Any) -> set[str]:
    """The labels that a result still has."""
    if isinstance(node, promql_parser.AggregateExpr):
        return set(node.modifier.labels) if node.modifier is not None else set()
    if isinstance(node, promql_parser.BinaryExpr):
        sides = [labels_left(side) for side in (node.lhs, node.rhs) if selectors(side)]
        return set.intersection(*sides)
    inner = selectors(node)
    return LABELS[inner[0].name] if inner else set()


@pytest.mark.parametrize(("panel", "expression", "legend"), targets(), ids=lambda value: str(value)[:60])
def test_the_dashboard_asks_for_what_there_is(panel: str, expression: str, legend: str) -> None:
    assert faults(expression) == [], panel
    assert set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend)) <= labels_left(parsed(expression)), panel


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_rule_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"]) == []
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert parse_duration(rule.get("for", "1m")) > 0
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    told = rule["annotations"]["summary"] + rule["annotations"]["description"]
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels_left(parsed(rule["expr"]))


def test_a_verb_that_a_rule_names_is_there() -> None:
    """The same check as of the pages: a rule that sends people to a verb that is gone helps nobody."""
    verbs = {command.words[0] for command in commands("synguard")}
    told = " ".join(rule["annotations"]["description"] for rule in rules())
    assert (
        set(re.findall(r"synguard ([a-z]+)\b(?= |$|;|\.| --)", told)) - {"status", "doctor", "notify", "report"}
        <= verbs
    )


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(synguard_nothing)", "no metric synguard_nothing"),
        ('synguard_bans{source="x"}', "synguard_bans has no label source"),
        ("sum by (port) (synguard_bans)", "nothing to group by port"),
        ("rate(synguard_bans[5m])", "synguard_bans is no counter"),
        ("1 + (time() - max(synguard_gone))", "no metric synguard_gone"),
    ],
)
def test_the_check_notices(expression: str, fault: str) -> None:
    assert faults(expression) == [fault]


def test_every_metric_is_in_the_dashboard_or_there_for_joins() -> None:
    shown = {one.name for _, expression, _ in targets() for one in selectors(parsed(expression))}
    left_out = {"synguard_info", "synguard_start_timestamp_seconds", "synguard_listener_info"}
    left_out |= {"synguard_bans_total", "synguard_incidents_total", "synguard_dropped_bytes_total"}
    left_out |= {"synguard_flood_verdict", "synguard_listener_half_open_sockets", "synguard_listener_backlog"}
    left_out |= {"synguard_listener_censored", "synguard_conditions", "synguard_peer_since_timestamp_seconds"}
    left_out |= {"synguard_challenges_possible", "synguard_challenged_targets", "synguard_dropped_headers"}
    assert {one.name for one in SERIES} - shown == left_out


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["description"] for panel in panels)


def test_the_page_lists_exactly_the_metrics_that_there_are() -> None:
    rows = re.findall(r"^\| `(synguard_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    plain = [(name, kind, labels, re.sub(r"\[(.*?)\]\(.*?\)", r"\1", about)) for name, kind, labels, about in rows]
    told = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), about) for name, kind, labels, about in plain]
    assert told == [(one.name, one.kind, one.labels, one.about) for one in SERIES]


# --- in the tools that load them ------------------------------------------------------------------------------------

PROMTOOL = ROOT / ".venv/unpacked/usr/bin/promtool"
"""Debian's, as ``.ci/unpacked-packages`` unpacks it."""
OF_THE_DATA_SOURCE = {"titleFormat", "step"}
"""Keys of an annotation that Prometheus' data source reads, not Grafana itself."""
ALERTS = """\
rule_files: [RULES]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {series: 'up{job="synguard", instance="web1"}', values: '1x8 0x20'}
      - {series: 'synguard_incident_active{instance="web1"}', values: '0x4 1x24'}
    alert_rule_test:
      - {eval_time: 2m, alertname: SynguardAttack, exp_alerts: []}
      - eval_time: 3m
        alertname: SynguardAttack
        exp_alerts:
          - exp_labels: {severity: info, instance: web1}
            exp_annotations: {summary: SUMMARY, description: TEXT}
      - {eval_time: 3m, alertname: SynguardGone, exp_alerts: []}
"""


def promtool(*words: str | Path, stdin: bytes = b"") -> str:
    done = subprocess.run([PROMTOOL, *words], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def test_prometheus_loads_the_alert_rules_and_they_fire(tmp_path: Path) -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES)
    (attack,) = [one for one in rules() if one["alert"] == "SynguardAttack"]
    said = {
        key: json.dumps(text.replace("{{ $labels.instance }}", "web1")) for key, text in attack["annotations"].items()
    }
    text = ALERTS.replace("RULES", str(RULES)).replace("SUMMARY", said["summary"]).replace("TEXT", said["description"])
    (tmp_path / "alerts.test.yml").write_text(text)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "alerts.test.yml")


def test_prometheus_finds_no_fault_in_the_figures() -> None:
    exposition = Exposition()
    exposition.take(status())
    assert promtool("check", "metrics", stdin=exposition.text()) == ""


def lost(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Yield what is in our JSON and not in theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs[key], f"{at}.{key}") if key in theirs else [f"{at}.{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{at}[{number}]")
    elif ours != theirs:
        yield f"{at}: {ours!r}, not {theirs!r}"


def test_grafana_s_own_model_of_a_dashboard_takes_ours_and_loses_nothing() -> None:
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))
    assert [one for one in lost(dashboard(), theirs) if one.rpartition(".")[2] not in OF_THE_DATA_SOURCE] == []
