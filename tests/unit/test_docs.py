"""What the documentation says is so: commands, examples, links, targets, constants."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from synguard import __version__
from synguard.cli.main import VERBS, app
from synguard.policy.load import load_file, load_policies
from synguard.policy.models import Config
from synguard.sensors.sockets import SocketTables
from tests.support.cli_host import CliHost
from tests.support.pages import CHANGELOG, PAGES, README, ROOT, Block, Command, blocks, code_spans, commands, prose

DECISIONS = ROOT / "docs/decisions"
SYNGUARD = commands("synguard")
EXAMPLES = [block for block in blocks() if block.language == "toml"]

PLACEHOLDERS = {"ADDRESS": "192.0.2.7", "TARGET": "192.0.2.7", "VERB": "bans"}
NOT_CARRIED_OUT = {
    "run": "would run for good",
    "panic": "would speak to the kernel of the machine that tests",
    "flush": "would speak to the kernel of the machine that tests",
    "doctor": "would ask it",
    "import": "is told of files of other tools",
    "check": "is told of files that only the reader has",
    "replay": "likewise",
    "suggest": "likewise",
    "upstream": "wants a BGP speaker in the config",
    "--watch": "would watch for good",
    "--config": "names a file that only the reader has",
    "--all": "asks a person, or carries out what another page needs",
    "--count": "would look for as long as it says",
}


def words_of(command: Command) -> list[str]:
    return [PLACEHOLDERS.get(word, word) for word in command.words]


def parse(words: list[str]) -> None:
    """Parse words as the command line does, without carrying them out."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("synguard", list(words))
    while hasattr(group, "list_commands"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, list(rest), parent=context)


def names_a_verb(command: Command) -> bool:
    """Whether a sentence only names a verb: ``synguard ban``, ``synguard policy``."""
    return command.mention and len(command.words) <= 1 + (command.words[0] in ("policy", "notify", "upstream", "allow"))


@pytest.mark.parametrize("command", SYNGUARD, ids=str)
def test_a_documented_command_is_understood(command: Command) -> None:
    words = words_of(command)
    if names_a_verb(command):
        words.append("--help")
    try:
        parse(words)
    except typer.Exit:  # of --help
        assert "--help" in words
    except typer.TyperException as error:
        pytest.fail(f"{command}: {error.format_message()}")


@pytest.mark.parametrize("command", SYNGUARD, ids=str)
def test_a_documented_command_works(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host without a kernel. 1 is a fair answer, as where there is nothing to lift; 2 would be a wrong word."""
    if names_a_verb(command) or NOT_CARRIED_OUT.keys() & set(command.words):
        return
    host = CliHost(tmp_path, monkeypatch)
    host.configure('policies = ["bastion", "web", "default"]\n')
    if "connections" in command.words:
        monkeypatch.setattr(
            "synguard.sensors.sockets.SocketTables", SocketTables
        )  # the machine's own: looking is harmless
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drop.txt").write_text("198.51.100.9  # seen on a list\n", encoding="utf-8")
    ran = host.run(*words_of(command))
    assert ran.code in (0, 1), f"{command}: {ran.err}"
    assert "unexpected" not in ran.err


def test_the_commands_are_found() -> None:
    """A search that finds nothing would let everything pass."""
    words = {command.words for command in SYNGUARD}
    assert ("ban", "203.0.113.7", "2001:db8:7::/48", "--for", "2h", "--reason", "ticket 4711") in words
    assert {first for first, *_ in words} >= {verb.name for verb in VERBS}


@pytest.mark.parametrize("command", commands("make"), ids=str)
def test_a_documented_make_target_is_there(command: Command) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    words = command.words[2:] if command.words[:1] == ("-C",) else command.words
    assert {word for word in words if "=" not in word} <= set(targets)


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.page.name)
def test_a_documented_example_loads(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(block.text, encoding="utf-8")
    loaded = load_file(path)
    if isinstance(loaded, Config):
        packs = tuple(name for name in loaded.policies if not name.endswith(".toml"))
        load_policies(Config(policies=packs or ("default",)))


def test_the_examples_are_found() -> None:
    assert {block.page.name for block in EXAMPLES} >= {"README.md", "operations.md", "policies.md"}


def links() -> list[tuple[Path, str]]:
    return [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", prose(page))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "link"), [pair for pair in links() if not pair[1].startswith("https://")])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_every_page_is_linked_from_another() -> None:
    reached = {(page.parent / link.partition("#")[0]).resolve() for page, link in links()}
    assert set(PAGES) - reached == {README}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_is_named_is_there(page: Path) -> None:
    named = re.compile(r"(?<![\w/])(?:synguard|tests|docs)/[a-z0-9_./-]+\.(?:py|toml|md)\b")
    names = [name for span in code_spans(page) for name in named.findall(span)]
    assert [name for name in names if not (ROOT / name).exists()] == []


def bounds() -> list[tuple[str, str]]:
    """(constant or config key, what the page says of it), from the table of bounds."""
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Bounds")[1].split("\n## ")[0]
    found = []
    for row in table.splitlines():
        cells = row.strip("|").split("|")
        names = re.findall(r"`([\w.]+)`", cells[1]) if len(cells) == 3 else []
        found.extend(zip(names, re.findall(r"\d[\d,]*(?:\.\d+)?", cells[-1]), strict=False))
    return found


@pytest.mark.parametrize(("name", "told"), bounds())
def test_a_documented_bound_is_what_the_code_has(name: str, told: str) -> None:
    value: Any
    if name.startswith("synguard."):
        module, _, constant = name.rpartition(".")
        value = getattr(import_module(module), constant)
    else:
        section, _, key = name.partition(".")
        value = getattr(getattr(Config(), section), key)
    assert float(told.rstrip(",").replace(",", "")) == float(value)


def test_the_bounds_are_found() -> None:
    assert len(bounds()) >= 20


def test_every_decision_has_a_number_of_its_own_and_a_place_in_the_index() -> None:
    records = [path.name for path in sorted(DECISIONS.glob("[0-9]*.md"))]
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    assert [name for name in records if f"({name})" not in index] == []
    assert len({name[:4] for name in records}) == len(records)


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_says_since_when_it_holds_and_what_it_concerns(path: Path) -> None:
    title, status, *_ = path.read_text(encoding="utf-8").split("\n\n")
    assert title.startswith("# ")
    assert re.fullmatch(r"\*.* Concerns .*\*", status, re.DOTALL)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert re.search(rf"^## {re.escape(__version__)}( |$)", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_readme_names_every_verb_and_stays_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert [verb.name for verb in VERBS if f"`synguard {verb.name}" not in text] == []
    assert len(text.splitlines()) <= 150


def test_every_pack_is_told_of() -> None:
    told = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
    assert [path.stem for path in (ROOT / "rules").glob("*.toml") if f"| `{path.stem}` |" not in told] == []


def test_every_file_that_the_architecture_names_is_there() -> None:
    """The walks and the lists "to add something" are how a newcomer finds a file; they once named three of seven."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    parts = (
        text.split("## The walk of one reading")[1].split("## From a reading")[0] + text.split("## To add something")[1]
    )
    there = [path.as_posix() for top in ("synguard", "tests") for path in (ROOT / top).rglob("*.py")]
    named = set(re.findall(r"`([\w/]+\.py)`", parts))
    assert [name for name in named if "NAME" not in name and not any(one.endswith(f"/{name}") for one in there)] == []
