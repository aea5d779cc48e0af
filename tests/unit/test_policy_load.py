"""Config and policies from files: what is read, and what an operator is told when it cannot be."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from synguard.errors import ConfigError
from synguard.model import Action, Mode, Signal
from synguard.policy import load
from synguard.policy.load import load_config, load_file, load_pack, load_policies
from synguard.policy.models import Config, Pack, Policy
from synguard.policy.show import show_policies
from synguard.policy.warnings import policy_warnings
from tests.support.config_text import show_config
from tests.support.manual.policy_reference import PAGE, reference


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems_of(text: str | bytes, tmp_path: Path, name: str = "pack.toml") -> list[str]:
    """The faults of a pack, each without the file's name before it."""
    path = write(tmp_path / name, text)
    with pytest.raises(ConfigError) as caught:
        load_pack(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def policy(name: str = "p", **values: object) -> Policy:
    return Policy.model_validate({"name": name, "limits": {"half_open": 64}, **values})


def test_an_empty_config_is_the_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path / "synguard.toml", ""))
    assert config == Config()
    assert config.mode is Mode.DRY_RUN
    assert config.policies == ("default",)


def test_a_config_is_read(tmp_path: Path) -> None:
    text = """
        mode = "enforce"
        policies = ["web", "mine.toml"]
        [allow]
        addresses = ["192.0.2.0/24", "::ffff:198.51.100.7", "2001:db8::/48"]
        [cadence]
        calm = "1s"
    """
    config = load_config(write(tmp_path / "synguard.toml", text))
    assert config.mode is Mode.ENFORCE
    assert [str(network) for network in config.allow.addresses] == ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/48"]
    assert config.cadence.calm == 1.0


def test_paths_in_a_config_are_relative_to_its_file(tmp_path: Path) -> None:
    text = 'state_dir = "state"\nruntime_dir = "/run/x"\npolicies = ["packs/mine.toml"]\nallow.files = ["allow.txt"]'
    config = load_config(write(tmp_path / "synguard.toml", text))
    assert config.state_dir == tmp_path / "state"
    assert config.runtime_dir == Path("/run/x")
    assert config.allow.files == (tmp_path / "allow.txt",)
    write(tmp_path / "packs" / "mine.toml", '[[policy]]\nname = "mine"\n')
    assert [one.name for one in load_policies(config, tmp_path)] == ["mine"]


def test_without_a_named_config_the_variable_then_etc_then_the_defaults_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc = tmp_path / "etc.toml"
    monkeypatch.setattr(load, "DEFAULT_CONFIG", etc)
    monkeypatch.delenv("SYNGUARD_CONFIG", raising=False)
    assert load_config(None) == Config()
    write(etc, 'on_exit = "flush"')
    assert load_config(None).on_exit == "flush"
    monkeypatch.setenv("SYNGUARD_CONFIG", str(write(tmp_path / "named.toml", 'plane = "nftables"')))
    assert load_config(None).plane == "nftables"
    assert load_config(etc).plane == "auto"
    monkeypatch.setenv("SYNGUARD_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(ConfigError, match="no such file"):
        load_config(None)


def test_every_fault_is_told_at_once_with_its_path(tmp_path: Path) -> None:
    text = """
        [[policy]]
        name = "a b"
        port = "80"
        [policy.limits]
        half_open = -1
        syn_rte = 4
        connections = "many"
        [policy.hold]
        half_open = "2h"
        [policy.bans]
        first = "1s"
        memory = 60
        [[policy]]
        limits = 3
        action = "deny"
        ports = "http"
        [policy.prefixes]
        ipv4 = [32, "24"]
        min_sources = true
    """
    assert problems_of(text, tmp_path) == [
        'policy[0].name: "a b" is not a name: use letters, digits, - and _',
        "policy[0].limits.half_open: must be above 0, not -1",
        'policy[0].limits.connections: must be a number, not "many"',
        "policy[0].limits.syn_rte: is not a known key; did you mean syn_rate?",
        'policy[0].hold.half_open: must be at most 1h, not "2h"',
        'policy[0].bans.first: must be at least 5s, not "1s"',
        'policy[0].bans.memory: 60 has no unit: write "30s", "10m" or "1h"',
        "policy[0].port: is not a known key; did you mean ports?",
        "policy[1].name: is missing",
        'policy[1].ports: "http" is not a port: write a number from 1 to 65535, a range like 8000-8100, or any',
        "policy[1].action: must be 'drop' or 'reject', not \"deny\"",
        "policy[1].limits: must be a table, not 3",
        'policy[1].prefixes.ipv4[1]: must be a whole number, not "24"',
        "policy[1].prefixes.min_sources: must be a whole number, not true",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "policy: is missing"),
        ("policy = []", "policy: must not be empty"),
        ("policy = [1]", "policy[0]: must be a table, not 1"),
        ('policy = "web"', 'policy: must be a list, not "web"'),
        ('[[policy]]\nname = ""', "policy[0].name: must not be empty"),
        ('[[policy]]\nname = "' + "x" * 33 + '"', "policy[0].name: must have at most 32 characters"),
        ('[[policy]]\nname = "p"\npressed = nan', "policy[0].pressed: must be at most 1, not nan"),
        ('[[policy]]\nname = "p"\nlimits.half_open = true', "policy[0].limits.half_open: must be a number, not true"),
        ('[[policy]]\nname = "p"\npressed = "1"', 'policy[0].pressed: must be a number, not "1"'),
        (
            '[[policy]]\nname = "p"\nbans.first = "2h"\nbans.cap = "1h"',
            "policy[0].bans: cap must not be below first, or the first ban would already break it",
        ),
        (
            '[[policy]]\nname = "p"\nprefixes.ipv4 = [24, 32]',
            "policy[0].prefixes: ipv4 must list prefix lengths from narrow to wide, like 32, 24, 16",
        ),
        (
            '[[policy]]\nname = "p"\n"odd key" = 1',
            'policy[0]."odd key": is not a known key here: about, action, bans, hold, limits, name, ports, '
            "prefix_limits, prefixes, pressed, scope, steps",
        ),
        (
            '[[policy]]\nname = "p"\n[[policy]]\nname = "p"',
            '{path}: policy[1].name: "p" is already the name of {path}: policy[0]',
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_an_operators_words(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "pack.toml"
    assert problems_of(text, tmp_path) == [problem.format(path=path).removeprefix(f"{path}: ")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mode = enforce", "line 1, column 8: invalid value"),
        ('mode = "dry-run"\nmode = "enforce"', "end of document: cannot overwrite a value"),
        ("[[policy", "end of document: expected"),
        ("a = 1\na = 2\nb = 3", "line 2, column 6: cannot overwrite a value"),
        (b"# caf\xe9\nmode = 1", "line 1: not UTF-8 text; save the file as UTF-8"),
        (b'mode = "dry-run"\n# \xff', "line 2: not UTF-8 text"),
        ("x = " + "9" * 5000, "a number has too many digits"),
        ("x = " + "[" * 100_000, "lists or tables are nested too deeply"),
        ("# " + "x" * 1024 * 1024, "larger than 1 MiB; is this the right file?"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_place(tmp_path: Path, text: str | bytes, words: str) -> None:
    (problem,) = problems_of(text, tmp_path)
    assert problem.startswith(words)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "c.toml", b'\xef\xbb\xbfmode = "enforce"')).mode is Mode.ENFORCE


def test_what_cannot_be_read_is_told_and_nothing_waits(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path, words in (
        (tmp_path / "missing.toml", "no such file"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (loop, "cannot be read"),
        (Path("a\0b"), "cannot be read"),
        (write(tmp_path / "file", "") / "below.toml", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_config(path)


def test_faults_of_all_packs_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "bad.toml", "policy = 1")
    with pytest.raises(ConfigError) as caught:
        load_policies(Config(policies=("wbe", "./bad.toml", "missing.toml", "default")), tmp_path)
    unknown, bad, missing = caught.value.problems
    assert unknown.startswith('policies[0]: no pack is called "wbe"; did you mean web? There are: bastion, default, ')
    assert bad == f"{tmp_path}/bad.toml: policy: must be a list, not 1"
    assert missing == f"{tmp_path}/missing.toml: no such file"


def test_two_packs_may_not_use_one_name(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.toml", '[[policy]]\nname = "x"\n[[policy]]\nname = "default"')
    with pytest.raises(ConfigError) as caught:
        load_policies(Config(policies=("default", str(mine))))
    (problem,) = caught.value.problems
    assert problem.startswith(f'{mine}: policy[1].name: "default" is already the name of ')
    assert problem.endswith("default.toml: policy[0]")


def test_the_first_policy_that_names_a_port_judges_it() -> None:
    policies = load_policies(Config(policies=("web", "default")))
    assert next(one.name for one in policies if one.judges(443)) == "web"
    assert next(one.name for one in policies if one.judges(22)) == "default"


def test_a_file_is_a_pack_or_a_config_by_what_it_holds(tmp_path: Path) -> None:
    assert isinstance(load_file(write(tmp_path / "a.toml", '[[policy]]\nname = "p"')), Pack)
    assert isinstance(load_file(write(tmp_path / "b.toml", 'mode = "enforce"')), Config)


def test_notes_name_a_policy_that_never_judges() -> None:
    notes = policy_warnings([policy("all"), policy("web", ports="80,443")])
    assert notes == (
        "policy web never judges: its ports are taken by all before it; list it earlier, since for a port the first "
        "policy that names it judges",
    )
    assert policy_warnings([policy("a", ports="1-100"), policy("b", ports="50-150"), policy("c")]) == ()


def test_notes_name_ports_that_nobody_judges() -> None:
    (note,) = policy_warnings([policy(ports="80,443")])
    assert note.startswith("no policy judges port 1-79, 81-442, 444-65535: ")
    odd = ",".join(str(port) for port in range(1, 40, 2))
    (note,) = policy_warnings([policy(ports=odd)])
    assert note.startswith("no policy judges port 2, 4, 6, 8, 10, 12, 14, 16 and more: ")
    (note,) = policy_warnings([policy(ports="80,443")], listening={22, 80})
    assert note.startswith("no policy judges port 22: ")
    assert policy_warnings([policy(ports="80,443")], listening={80}) == ()


def test_notes_name_limits_that_contradict_or_are_missing() -> None:
    (note,) = policy_warnings([policy(prefix_limits={"half_open": 10})])
    assert note.startswith("policy p: prefix_limits.half_open (10) is below limits.half_open (64)")
    (note,) = policy_warnings([Policy(name="empty")])
    assert note.startswith("policy empty sets no limits")
    config = Config.model_validate({"ledger": {"keep": "1h"}})
    (note,) = policy_warnings([policy()], config)
    assert note.startswith("policy p: bans.memory (1d) is longer than ledger.keep (1h)")


def test_control_characters_in_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (problem,) = problems_of('[[policy]]\nname = "p"\nports = "\\u001b[2J"', tmp_path)
    assert problem.startswith('policy[0].ports: "\\x1b[2J" is not a port')


def test_what_is_shown_loads_back_to_the_same(tmp_path: Path) -> None:
    policies = load_policies(Config(policies=("web", "bastion", "mail", "default")))
    assert load_pack(write(tmp_path / "p.toml", show_policies(policies))).policy == policies
    config = Config.model_validate({"allow": {"addresses": ["::1", "10.0.0.0/8"]}, "cadence": {"calm": "0.25s"}})
    assert load_config(write(tmp_path / "c.toml", show_config(config))) == config


def test_what_is_shown_names_every_value_that_counts() -> None:
    shown = tomllib.loads(show_policies(load_policies(Config())))["policy"][0]
    assert shown["limits"] == {"half_open": 64, "syn_rate": 100, "connections": 400, "connection_rate": 200}
    assert shown["hold"]["syn_rate"] == "0.4s"
    assert shown["action"] == Action.DROP.value
    assert Signal.HALF_OPEN in shown["limits"]


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: make man"


def test_every_documented_example_loads(tmp_path: Path) -> None:
    page = (PAGE.parent / "policies.md").read_text(encoding="utf-8")
    examples = [block.split("```")[0] for block in page.split("```toml\n")[1:]]
    assert len(examples) >= 3
    for number, example in enumerate(examples):
        loaded = load_file(write(tmp_path / f"{number}.toml", example))
        if isinstance(loaded, Config):
            packs = tuple(entry for entry in loaded.policies if not entry.endswith(".toml"))
            assert load_policies(Config(policies=packs or ("default",)))


def test_keys_of_earlier_releases_are_accepted_and_do_nothing() -> None:
    config = Config.model_validate({"members": "rules", "ceilings": {"rules": 64, "members": 300}})
    assert config == Config.model_validate({"ceilings": {"members": 300}})
