"""``policy replay`` and ``policy suggest`` as operators call them."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from synguard.model import Signal
from synguard.policy.load import load_pack
from synguard.recording.reader import Recording
from tests.support.calm_day import calm
from tests.support.cli_host import CliHost
from tests.support.recordings import recorded, write_recording

RECORDINGS = Path(__file__).parents[1] / "scenario" / "recordings"
PREFIX = str(RECORDINGS / "prefix-128.rec")
CONNECTIONS = str(RECORDINGS / "connections.rec")
BUSY = "198.51.100.7"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    return CliHost(tmp_path, monkeypatch)


@pytest.fixture
def day(tmp_path: Path) -> str:
    """A calm recording with one busy source."""
    return str(write_recording(tmp_path / "day.rec", calm(60, loud={BUSY: 120})))


def test_replay_shows_bans_against_limits_and_what_it_cannot_know(host: CliHost) -> None:
    ran = host.run("policy", "replay", CONNECTIONS)
    assert ran.code == 0
    assert "3 bans, 0 spared, 1 incident" in ran.out
    assert "203.0.113.1  all" in ran.out
    assert "connections 1,001 / 400" in ran.out
    assert ran.out.splitlines()[-1].startswith("What this cannot know: the traffic was recorded as it came.")
    assert "times real speed" in ran.err


def test_replay_changes_nothing_on_the_host(host: CliHost) -> None:
    host.run("policy", "replay", CONNECTIONS)
    assert host.records() == []
    assert host.held() == set()
    assert not host.state.exists()


def test_replay_as_json_has_the_same_in_full(host: CliHost) -> None:
    shape = host.run("policy", "replay", CONNECTIONS, "--json").json
    assert shape.keys() == {
        "recording", "policies", "banned", "bans", "spared", "floods", "incidents", "close", "not_banned",
        "ticks_without_samples", "notes",
    }  # fmt: skip
    assert shape["recording"].keys() == {
        "started_at", "ended_at", "seconds", "ticks", "mode", "whole", "rows_not_recorded", "failed_ticks",
    }  # fmt: skip
    assert shape["banned"] == 3
    ban = shape["bans"][0]
    assert ban.keys() == {
        "target", "after_s", "scope", "action", "ports", "policy", "reason", "score", "times", "lasts_s", "evidence",
    }  # fmt: skip
    assert ban["scope"] == "all"
    assert 0 < ban["after_s"] < shape["recording"]["seconds"]
    assert shape["notes"][-1].startswith("What this cannot know")


def test_replay_judges_by_the_packs_named_or_by_the_configured_ones(host: CliHost, tmp_path: Path) -> None:
    (tmp_path / "lax.toml").write_text('[[policy]]\nname = "lax"\n[policy.limits]\nconnections = 5000\n')
    lax = host.run("policy", "replay", CONNECTIONS, "--policy", str(tmp_path / "lax.toml"), "--json").json
    assert (lax["policies"], lax["bans"]) == (["lax"], [])
    host.configure('policies = ["strict", "web"]\n')
    assert host.run("policy", "replay", CONNECTIONS, "--json").json["policies"] == ["strict", "web"]


def test_replay_spares_whom_the_configuration_allows(host: CliHost) -> None:
    host.configure('[allow]\naddresses = ["203.0.113.0/30"]\n')
    shape = host.run("policy", "replay", CONNECTIONS, "--json").json
    assert shape["bans"] == []
    assert {one["target"] for one in shape["spared"]} == {f"203.0.113.{i}" for i in (1, 2, 3)}
    assert shape["spared"][0]["reason"] == "protected: allow-list of the configuration"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is no recording of synguard"),
        (b"#!/bin/sh\n", "it is no recording of synguard"),
        (recorded([]), "holds no tick"),
        (recorded([])[:-3], "it ends before its first tick"),
    ],
    ids=["empty", "script", "no tick", "cut in its head"],
)
@pytest.mark.parametrize("verb", ["replay", "suggest"])
def test_what_is_no_recording_is_one_sentence_and_a_usage_error(
    host: CliHost, tmp_path: Path, content: bytes, told: str, verb: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    ran = host.run("policy", verb, str(tmp_path / "x"))
    assert ran.code == 2
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""


@pytest.mark.parametrize("verb", ["replay", "suggest"])
def test_a_missing_recording_is_told_how_to_make(host: CliHost, tmp_path: Path, verb: str) -> None:
    ran = host.run("policy", verb, str(tmp_path / "no.rec"))
    assert ran.code == 2
    assert "synguard run --record" in ran.err


def test_a_recording_that_a_killed_agent_left_is_replayed_and_told_of(host: CliHost, tmp_path: Path) -> None:
    (tmp_path / "x.rec").write_bytes(Path(CONNECTIONS).read_bytes()[:-5])
    ran = host.run("policy", "replay", str(tmp_path / "x.rec"))
    assert ran.code == 0
    assert "ends in the midst of a record" in ran.out


def test_a_recording_made_while_enforcing_is_told_what_it_lacks(host: CliHost, tmp_path: Path) -> None:
    path = write_recording(tmp_path / "x.rec", calm(5), mode="enforce")
    assert "what its own bans stopped is missing" in host.run("policy", "replay", str(path)).out


def test_suggest_prints_a_pack_that_loads_and_argues_each_number(host: CliHost, day: str, tmp_path: Path) -> None:
    ran = host.run("policy", "suggest", day)
    assert ran.code == 0
    [policy] = tomllib.loads(ran.out)["policy"]
    assert policy["limits"]["connections"] == 500
    assert "120 x 4 = 480, rounded up. In effect before: 400." in ran.out
    assert "Margin x4: only 1m of calm were recorded" in ran.out
    assert "Tried on the same calm time: 0 bans, highest score 0 of 100." in ran.out
    (tmp_path / "mine.toml").write_text(ran.out)
    assert host.run("policy", "check", str(tmp_path / "mine.toml")).code == 0
    assert all(len(line) <= 120 for line in ran.out.splitlines())
    lines = ran.out.splitlines()
    limits = [i for i, line in enumerate(lines) if line.partition(" = ")[0] in set(Signal) and '"' not in line]
    assert len(limits) == 8
    assert all(lines[i - 1].startswith("# ") for i in limits)


def test_suggest_writes_a_file_once_and_says_how_to_try_it(host: CliHost, day: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    ran = host.run("policy", "suggest", day, "-o", str(mine))
    assert ran.code == 0
    assert ran.out == ""
    assert f"synguard policy replay {day} --policy {mine}" in ran.err
    assert load_pack(mine).policy[0].limits.connections == 500
    mine.write_text("edited by hand")
    refused = host.run("policy", "suggest", day, "-o", str(mine))
    assert refused.code == 3
    assert mine.read_text() == "edited by hand"
    assert host.run("policy", "suggest", day, "-o", str(mine), "--force").code == 0
    assert load_pack(mine).policy[0].limits.connections == 500


def test_suggest_as_json_carries_figures_and_the_pack(host: CliHost, day: str) -> None:
    shape = host.run("policy", "suggest", day, "--json").json
    assert shape.keys() == {
        "files", "recorded_s", "calm_s", "margin", "left_out", "tried", "warnings", "policies", "pack",
    }  # fmt: skip
    line = shape["policies"][0]["limits"]["connections"]
    assert line.keys() == {"limit", "because", "seen"}
    assert line["seen"].keys() == {"targets", "p50", "p90", "p99", "p999", "max", "loudest"}
    assert (line["seen"]["loudest"], line["seen"]["max"]) == (BUSY, 120)
    assert tomllib.loads(shape["pack"])["policy"][0]["limits"]["connections"] == line["limit"] == 500


def test_suggest_warns_where_little_was_recorded(host: CliHost, day: str) -> None:
    assert "warning: only 1m of calm were recorded: record an hour at least" in host.run("policy", "suggest", day).err


def test_suggest_leaves_an_attack_out_and_says_when_it_was(host: CliHost, tmp_path: Path) -> None:
    ticks = calm(100, flood={"203.0.113.9": 900}, flood_at=(45.0, 47.0))
    path = str(write_recording(tmp_path / "x.rec", ticks))
    ran = host.run("policy", "suggest", path)
    assert "Left out as attacks by the policies in effect: 2026-03-01 12:00:45 to 12:01" in ran.out
    assert tomllib.loads(ran.out)["policy"][0]["limits"]["half_open"] == 16
    kept = host.run("policy", "suggest", path, "--keep-incidents")
    assert tomllib.loads(kept.out)["policy"][0]["limits"]["half_open"] == 4000
    assert "make sure that no attack was recorded" in kept.err


def test_suggest_adds_recordings_up(host: CliHost, day: str, tmp_path: Path) -> None:
    other = str(write_recording(tmp_path / "other.rec", calm(60, loud={"192.0.2.77": 300})))
    shape = host.run("policy", "suggest", day, other, "--json").json
    assert shape["calm_s"] == pytest.approx(120, abs=1)
    assert shape["policies"][0]["limits"]["connections"]["seen"]["loudest"] == "192.0.2.77"


def test_suggest_takes_another_margin(host: CliHost, day: str) -> None:
    shape = host.run("policy", "suggest", day, "--margin", "10", "--json").json
    assert shape["margin"] == {"factor": 10, "why": "x10, as asked for"}
    assert shape["policies"][0]["limits"]["connections"]["limit"] == 1200


def test_too_little_traffic_is_an_honest_error(host: CliHost, tmp_path: Path) -> None:
    path = write_recording(tmp_path / "x.rec", calm(10, count=3))
    ran = host.run("policy", "suggest", str(path))
    assert ran.code == 1
    assert "too little traffic to suggest limits: at most 3 sources" in ran.err
    assert ran.out == ""


def test_policies_without_traffic_on_their_ports_stay_as_they_are(host: CliHost, day: str) -> None:
    host.configure('policies = ["bastion", "default"]\n')
    ran = host.run("policy", "suggest", day)
    by_name = {one["name"]: one for one in tomllib.loads(ran.out)["policy"]}
    bastion = host.run("policy", "show", "--policy", "bastion", "--json").json[0]
    assert by_name["bastion"]["limits"] == {k: v for k, v in bastion["limits"].items() if v is not None}
    assert by_name["default"]["limits"]["connections"] == 500
    assert "Too little traffic on these ports (0 sources)" in ran.out


def test_an_hour_long_recording_is_not_called_short(host: CliHost, tmp_path: Path) -> None:
    ticks = calm(3700, tick_s=8.0, connections_every=1)
    ran = host.run("policy", "suggest", str(write_recording(tmp_path / "x.rec", ticks)))
    assert ran.code == 0
    assert "only" not in ran.err
    assert "Margin x3" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--record-limit", "lots"], 2, "is not a size: write a number with a unit"),
        (["--record", "{there}"], 3, "is there already: name a new file, or add --force"),
    ],
)
def test_run_refuses_recordings_that_cannot_be(
    host: CliHost, tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    (tmp_path / "there").write_text("mine")
    ran = host.run("run", "--for", "1s", *(word.format(there=tmp_path / "there") for word in words))
    assert ran.code == code
    assert told in ran.err
    assert (tmp_path / "there").read_text() == "mine"


def test_run_records_what_it_reads(tmp_path: Path) -> None:
    """The real sensors of whatever machine this is, for a second, in dry-run."""
    import subprocess
    import sys

    config = tmp_path / "synguard.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n')
    path = tmp_path / "x.rec"
    command = [sys.executable, "-m", "synguard", "--config", str(config), "run", "--dry-run", "--for", "1s"]
    done = subprocess.run([*command, "--record", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "recorded" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Recording(path) as recording:
        moments = list(recording.moments())
    assert moments
    assert moments[0].readings.counters is not None
    assert recording.head.mode == "dry-run"
