"""``synguard doctor`` after others were at our rules: each kind of drift is named, with what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synguard.cli.main import app
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Action, Scope
from tests.support.bans import ban
from tests.support.network_thread import NetworkThread

pytestmark = pytest.mark.kernel

Doctor = Callable[[], list[dict[str, str]]]
PLANES = {
    "sets": 'plane = "iptables"\n',
    "nft": 'plane = "nftables"\n',
}
PUTS_BACK = "starting the agent, or any synguard ban or unban, puts this back"
LEGACY_RESTORE = "printf '*raw\\nCOMMIT\\n*filter\\nCOMMIT\\n' | iptables-legacy-restore"
DRIFTS = [
    ("sets", "iptables-legacy -t raw -F SYNGUARD", "rules", "missing or changed: iptables raw: the rules of SYNGUARD"),
    ("nft", "nft flush chain inet synguard drop-4", "rules", "missing or changed: the rules of chain drop-4"),
    ("sets", "ipset flush synguard-all-drop-4", "bans", "1 of 2 bans that the ledger holds are not in the kernel: 192"),
    ("nft", "nft flush set inet synguard all-drop-4-32", "bans", "not in the kernel: 192.0.2.1; they stop nothing"),
    ("sets", "iptables-legacy -t raw -D PREROUTING 1", "rules", "the jump from PREROUTING to SYNGUARD"),
    ("sets", LEGACY_RESTORE, "rules", "iptables raw: the jump from PREROUTING"),
    ("nft", "nft flush ruleset", "rules", "missing or changed: table inet synguard"),
    (
        "nft",
        "nft flush ruleset",
        "bans",
        "2 of 2 bans that the ledger holds are not in the kernel: 192.0.2.1, ",
    ),
    (
        "sets",
        'ipset add synguard-all-drop-4 192.0.2.9 timeout 60 comment "synguard ban gone until 2126-03-01T12:00:00Z"',
        "bans",
        "in the kernel but not in the ledger: 192.0.2.9",
    ),
    (
        "sets",
        "ipset add -exist synguard-all-drop-4 192.0.2.1 timeout 99 comment 'synguard ban a until 2126-03-01T12:00:00Z'",
        "bans",
        "in the kernel otherwise than in the ledger: 192.0.2.1",
    ),
]
FOREIGN = [
    ("sets", "iptables-legacy -t raw -I SYNGUARD -s 198.18.0.3 -j ACCEPT", "rule 1 of SYNGUARD (-j ACCEPT)"),
    ("sets", "iptables-legacy -t raw -I PREROUTING -j ACCEPT", "rule 1 of PREROUTING accepts packets before SYNGUARD"),
    ("nft", "nft insert rule inet synguard drop-4 ip saddr 198.18.0.3 accept", "rule with handle"),
]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NetworkThread]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    thread = NetworkThread()
    yield thread
    thread.call(lambda: CliRunner().invoke(app, ["flush", "--yes"]))
    thread.close()


@pytest.fixture
def banned(host: NetworkThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Doctor]:
    """Two bans by hand in a plane; then what the doctor finds."""

    def begin(plane: str) -> Doctor:
        config = tmp_path / "synguard.toml"
        config.write_text(f'state_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n{PLANES[plane]}')
        monkeypatch.setenv("SYNGUARD_CONFIG", str(config))
        (tmp_path / "state").mkdir()
        with Ledger.open(tmp_path / "state" / LEDGER_FILE) as ledger:
            ledger.add_bans([ban("a", "192.0.2.1", Scope.ALL), ban("b", "2001:db8::/64", Scope.ALL, Action.REJECT)])
        made = host.call(lambda: CliRunner().invoke(app, ["ban", "192.0.2.77", "--for", "1h", "--yes"]))
        assert made.exit_code == 0, made.output
        lifted = host.call(lambda: CliRunner().invoke(app, ["unban", "192.0.2.77", "--yes"]))
        assert lifted.exit_code == 0, lifted.output

        def doctor() -> list[dict[str, str]]:
            ran = host.call(lambda: CliRunner().invoke(app, ["doctor", "--json"]))
            found: list[dict[str, str]] = json.loads(ran.stdout)["findings"]
            return [one for one in found if one["name"] in ("rules", "bans", "repairs")]

        return doctor

    return begin


@pytest.mark.parametrize(("plane", "foreign", "name", "words"), DRIFTS, ids=lambda value: str(value)[:40])
def test_each_kind_of_drift_is_named_with_what_to_do(
    host: NetworkThread, banned: Callable[[str], Doctor], plane: str, foreign: str, name: str, words: str
) -> None:
    doctor = banned(plane)
    assert doctor() == [{"name": "bans", "level": "ok", "reason": "the kernel holds all 2", "fix": ""}]
    host.sh(foreign)
    [found] = [one for one in doctor() if one["name"] == name and words in one["reason"]]
    assert found["level"] in ("bad", "warn")
    assert PUTS_BACK in found["fix"]
    mended = host.call(lambda: CliRunner().invoke(app, ["ban", "192.0.2.78", "--for", "1h", "--yes"]))
    assert mended.exit_code == 0, mended.output
    assert doctor() == [{"name": "bans", "level": "ok", "reason": "the kernel holds all 3", "fix": ""}]


@pytest.mark.parametrize(("plane", "foreign", "words"), FOREIGN, ids=lambda value: str(value)[:40])
def test_what_is_foreign_in_our_way_is_named_and_is_for_its_owner_to_move(
    host: NetworkThread, banned: Callable[[str], Doctor], plane: str, foreign: str, words: str
) -> None:
    doctor = banned(plane)
    host.sh(foreign)
    [found] = [one for one in doctor() if one["name"] == "rules"]
    assert words in found["reason"]
    assert (found["level"], found["fix"]) == ("warn", "move it to a chain of your own")


def test_who_keeps_changing_our_rules_is_looked_for_by_the_operator(
    banned: Callable[[str], Doctor], tmp_path: Path
) -> None:
    doctor = banned("sets")
    with Ledger.open(tmp_path / "state" / LEDGER_FILE) as ledger:
        for text in ("first", "iptables raw: the jump from PREROUTING to SYNGUARD: missing or changed, put back"):
            ledger.record_action(datetime.now(UTC), "repair", text)
    [found] = [one for one in doctor() if one["name"] == "repairs"]
    assert "reported 2 times; the last: iptables raw: the jump from PREROUTING to SYNGUARD" in found["reason"]
    assert "find the firewall script" in found["fix"]
