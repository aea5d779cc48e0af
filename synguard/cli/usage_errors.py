"""What is wrong with a command line, as one sentence that names what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

import typer

OTHER_WORDS: Final[Mapping[str, str]] = {
    "block": "ban",
    "deny": "ban",
    "drop": "ban",
    "reject": "ban",
    "unblock": "unban",
    "delete": "unban",
    "lift": "unban",
    "release": "unban",
    "remove": "unban",
    "list": "bans",
    "ls": "bans",
    "show": "bans",
    "start": "run",
    "agent": "run",
    "daemon": "run",
    "watch": "top",
    "live": "top",
    "netstat": "connections",
    "ss": "connections",
    "explain": "why",
    "renew": "extend",
    "prolong": "extend",
    "expiring": "review",
    "whitelist": "allow add",
    "ignore": "allow add",
    "migrate": "import",
    "check": "doctor",
    "health": "status",
    "enforce": "enable",
    "confirm": "enable --confirm",
    "disable": "enable --off",
    "stop": "panic",
    "clear": "flush",
    "config": "policy show",
    "limits": "policy show",
    "rules": "policy show",
    "help": "--help",
    "version": "--version",
}
"""Words that other tools use → ours."""

OTHER_OPTIONS: Final = (
    ("--reason", "--comment", "--text", "--note", "--message", "--description", "--label"),
    (
        "--for",
        "--extend",
        "--until",
        "--time",
        "--duration",
        "--ttl",
        "--timeout",
        "--expire",
        "--expires",
        "--bantime",
        "--length",
    ),
    ("--for permanent", "--permanent", "--forever"),
    ("--since", "--last", "--days", "--hours", "--from", "--after"),
    ("--between", "--to", "--before"),
    ("--ports", "--port", "--dport"),
    ("--confirm-within", "--trial", "--within"),
    ("--dry-run", "--preview", "--test", "--check", "--simulate"),
    ("--yes", "--assume-yes", "--no-confirm", "--quiet"),
    ("--output", "--out"),
    ("--limit", "--count", "--max", "--lines"),
    ("--sort", "--order", "--by"),
    ("--every", "--interval", "--delay"),
    ("--all-ended", "--all", "--ended", "--history"),
)
"""Options that mean the same, here or in other tools."""

_NO_CHOICE: Final = re.compile(r"for '(?P<name>[^']*)': '(?P<given>.*?)' is not one of (?P<known>'.*')", re.DOTALL)
_EXTRA: Final = re.compile(r"got unexpected extra arguments?(?:\(s\))? \((?P<words>.*)\)", re.DOTALL | re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[0-9a-f:.]*[0-9a-f][:.][0-9a-f:.]*(/\d+)?", re.IGNORECASE)
_ADDRESS_VERBS: Final[Mapping[str, str]] = {"synguard": "synguard why", "synguard allow": "synguard allow add"}
"""Commands behind which an address was typed → what would take it."""
_EXAMPLE: Final = re.compile(r"Examples:\s+(synguard \S[^\n]*?)(?:  |\n|$)")
_VALIDATION: Final = (
    (re.compile(r"Input should be a valid integer.*"), "give a whole number"),
    (re.compile(r"Input should be "), "it should be "),
)


def nearest_verb(word: str, known: Iterable[str], context: Any) -> str:
    """Return what to do instead of a verb that there is none of."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    top_level = context.parent is None
    meant = OTHER_WORDS.get(word.lower()) if top_level else None
    meant = meant or (near[0] if near else None)
    if _ADDRESS.fullmatch(word) and context.command_path in _ADDRESS_VERBS:
        return f"did you mean {_ADDRESS_VERBS[context.command_path]} {word}?"
    return f"did you mean {meant}?" if meant else f'see "{context.command_path} --help"'


def usage_sentence(error: typer.TyperException) -> str:
    """Return a usage error of the parser as one sentence in our words."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "synguard"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _no_such_option(option, context, path)
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    choice = _NO_CHOICE.search(message)
    if choice:
        return _no_such_value(choice, path)
    if extra := _EXTRA.search(message):
        return _unwanted(extra["words"], context, path)
    for found, ours in _VALIDATION:
        message = found.sub(ours, message)
    message = message[:1].lower() + message[1:]
    example = _EXAMPLE.search(getattr(getattr(context, "command", None), "help", None) or "")
    if message.startswith("missing argument") and example:
        message = f"{message}, as in: {example[1]}"
    return message if message.endswith("?") or "--help" in message else f'{message}; see "{path} --help"'


def _no_such_option(option: str, context: Any, path: str) -> str:
    known = [name for param in context.command.params for name in param.opts] if context is not None else []
    near = [one for alike in OTHER_OPTIONS if option in alike for one in alike if one.split()[0] in known]
    near += get_close_matches(option, known, n=1, cutoff=0.7)
    meant = f"did you mean {near[0]}?" if near else f'see "{path} --help"'
    return f"{path} has no option {option}; {meant}"


def _unwanted(words: str, context: Any, path: str) -> str:
    known = [name for param in context.command.params for name in param.opts] if context is not None else []
    meant = "did you mean --target?" if "--target" in known else f'see "{path} --help"'
    return f'{path} takes no "{words[:60]}"; {meant}'


def _no_such_value(choice: re.Match[str], path: str) -> str:
    given, known = choice["given"], re.findall(r"'([^']*)'", choice["known"])
    near = [word for word in known if given and word.startswith(given.lower())]
    near += get_close_matches(given.lower(), known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}?" if near else f'see "{path} --help"'
    return f'"{given[:40]}" is no value for {choice["name"]}, which takes {_listed(known)}; {meant}'


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
