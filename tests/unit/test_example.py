"""The example config: what is shipped is what the models say, as it is and with every line in force."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.errors import ConfigError
from synguard.policy.load import load_config, load_policies
from synguard.policy.models import Config
from synguard.sensors.allow_list import read_allow_file
from tests.support.cli_host import CliHost
from tests.support.manual.example import ALLOW_LIST, example, uncommented
from tests.support.manual.keys import config_tables

SHARE = files("synguard").joinpath("share", "config")


def test_the_shipped_example_is_up_to_date() -> None:
    assert SHARE.joinpath("synguard.toml").read_text(encoding="utf-8") == example(), "run: make man"
    assert SHARE.joinpath("allow.txt.example").read_text(encoding="utf-8") == ALLOW_LIST, "run: make man"


def test_as_shipped_it_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "synguard.toml"
    path.write_text(example(), encoding="utf-8")
    assert load_config(path) == Config()


def test_with_every_line_uncommented_it_is_the_defaults_too(tmp_path: Path) -> None:
    path = tmp_path / "synguard.toml"
    text = uncommented(example())
    path.write_text(text, encoding="utf-8")
    config = load_config(path)
    assert config == Config()
    assert load_policies(config)
    told = {line.partition(" = ")[0] for line in text.splitlines() if " = " in line and not line.startswith("#")}
    assert told == {key.name for table in config_tables() for key in table.keys if key.default is not None}


@pytest.mark.parametrize("table", config_tables(), ids=lambda table: table.name or "top")
def test_every_key_is_explained_above_its_line(table: object) -> None:
    lines = example().splitlines()
    for key in table.keys:  # type: ignore[attr-defined]
        at = next(i for i, line in enumerate(lines) if line.lstrip("# ").startswith(f"{key.name} = "))
        assert lines[at - 1].startswith("# ")


def test_the_example_of_an_allow_list_lists_nobody_until_it_is_uncommented(tmp_path: Path) -> None:
    path = tmp_path / "allow.txt"
    path.write_text(ALLOW_LIST, encoding="utf-8")
    assert not read_allow_file(path)
    entries = (
        ALLOW_LIST.split("listed.\n#\n")[1].replace("# 192", "192").replace("# 198", "198").replace("# 2001", "2001")
    )
    path.write_text(entries, encoding="utf-8")
    assert {entry.network for entry in read_allow_file(path)} >= {
        parse_network("192.0.2.10"),
        parse_network("2001:db8:7::/48"),
    }


def test_the_command_prints_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = CliHost(tmp_path, monkeypatch)
    assert host.run("policy", "example").out == example()
    assert host.run("policy", "example", "--allow-list").out == ALLOW_LIST


def test_a_table_that_is_appended_though_the_example_has_it_is_told_in_words(tmp_path: Path) -> None:
    """Whoever appends ``[budget]`` to the shipped file was told "cannot declare ('budget',) twice"."""
    path = tmp_path / "synguard.toml"
    path.write_text(f"{example()}\n[budget]\nactive_bans = 5\n", encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        load_config(path)
    assert re.search(r"line \d+, column \d+: \[budget\] stands twice: put its keys under one", str(told.value))
