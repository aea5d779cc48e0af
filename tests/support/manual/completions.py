"""Completion scripts for bash, zsh and fish, from the command line's surface.

They hold every verb, option and fixed value themselves, so that Tab starts no Python; only the targets of standing
bans are asked for, with ``synguard completion --targets``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from synguard.policy.files import pack_names
from synguard.socket_table import TcpState
from tests.support.manual.surface import Option, Page

_NOTE: Final = "written by `make man`; do not edit"
_TIMES: Final = ("30s", "10m", "1h", "2h", "1d")
_ASK: Final = "synguard completion --targets 2>/dev/null"


def _words(one: Option) -> tuple[str, ...]:
    """Return the values worth offering for an option or argument."""
    by_value = {
        "TIME": _TIMES,
        "STATE": tuple(state.name for state in TcpState),
        "PACK|FILE": pack_names(),
        "SHELL": ("bash", "zsh", "fish"),
    }
    return one.choices or by_value.get(one.value or "", ())


def _asks(page: Page) -> bool:
    """Whether a verb's arguments are targets of standing bans."""
    return page.words[-1] == "unban"


def _path(page: Page) -> str:
    return " ".join(page.words[1:])


# --- bash -------------------------------------------------------------------------------------------------------

_BASH: Final = """\
# bash completion for synguard; {note}
_synguard() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path='' word i words=''
    if declare -F _get_comp_words_by_ref >/dev/null; then _get_comp_words_by_ref -n : cur prev; fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        case "$path,$word" in
{steps}
        esac
    done
    case "$path,$prev" in
{values}
    esac
    if [ -z "$words" ]; then
        if [[ $cur == -* ]]; then
            case "$path" in
{options}
            esac
        else
            case "$path" in
{arguments}
            esac
        fi
    fi
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$cur")
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}}
complete -F _synguard synguard
"""


def bash(root: Page) -> str:
    """Return the script for bash, with or without the package bash-completion."""
    pages = list(root.walk())
    return _BASH.format(
        note=_NOTE,
        steps="\n".join(
            f"        '{_path(page)},{verb.words[-1]}') path='{_path(verb)}' ;;"
            for page in pages
            for verb in page.verbs
        ),
        values="\n".join(_bash_values(pages)),
        options="\n".join(f"            '{_path(page)}') words='{' '.join(_names(page))}' ;;" for page in pages),
        arguments="\n".join(line for page in pages for line in _bash_arguments(page)),
    )


def _names(page: Page) -> list[str]:
    return [name for one in page.options for name in one.names]


def _bash_values(pages: list[Page]) -> Iterator[str]:
    for page in pages:
        for one in page.options:
            if one.value is None:
                continue
            places = "|".join(f"'{_path(page)},{name}'" for name in one.names)
            files = "compopt -o default 2>/dev/null; " if one.is_path or "FILE" in one.shown else ""
            words = " ".join(_words(one))
            yield f"    {places}) {files}" + (f"words='{words}'" if words else "return") + " ;;"


def _bash_arguments(page: Page) -> Iterator[str]:
    if page.verbs:
        yield f"            '{_path(page)}') words='{' '.join(verb.words[-1] for verb in page.verbs)}' ;;"
    elif _asks(page):
        yield f"            '{_path(page)}') words=$({_ASK}) ;;"
    elif any(one.is_path for one in page.arguments):
        yield f"            '{_path(page)}') compopt -o default 2>/dev/null; return ;;"
    elif words := [word for one in page.arguments for word in _words(one)]:
        yield f"            '{_path(page)}') words='{' '.join(words)}' ;;"


# --- zsh --------------------------------------------------------------------------------------------------------

_ZSH_END: Final = """
_synguard_targets() {{
  local -a targets
  targets=(${{(f)"$({ask})"}})
  compadd -a targets
}}

if [ "$funcstack[1]" = "_synguard" ]; then
  _synguard "$@"
else
  compdef _synguard synguard
fi
"""

_ZSH_GROUP: Final = """\
{name}() {{
  local curcontext=$curcontext state line
  local -a verbs
  verbs=(
{verbs}
  )
  _arguments -C \\
    {specs}
  case $state in
    verb) _describe verb verbs ;;
    rest)
      case $words[1] in
{cases}
      esac ;;
  esac
}}
"""


def zsh(root: Page) -> str:
    """Return the script for zsh: one function a verb."""
    functions = "\n".join(_zsh_function(page) for page in root.walk())
    return f"#compdef synguard\n# zsh completion for synguard; {_NOTE}\n\n{functions}" + _ZSH_END.format(ask=_ASK)


def _zsh_function(page: Page) -> str:
    name = "_" + page.name.replace("-", "_")
    specs = [_zsh_option(one) for one in page.options]
    if not page.verbs:
        specs += [_zsh_argument(page, one) for one in page.arguments]
        return f"{name}() {{\n  _arguments -s \\\n    " + " \\\n    ".join(specs) + "\n}\n"
    verbs = "\n".join(f"    {_quoted(f'{verb.words[-1]}:{_plain(verb.line)}')}" for verb in page.verbs)
    cases = "\n".join(f"        {verb.words[-1]}) _{verb.name.replace('-', '_')} ;;" for verb in page.verbs)
    return _ZSH_GROUP.format(
        name=name, verbs=verbs, cases=cases, specs=" \\\n    ".join([*specs, "'1: :->verb'", "'*:: :->rest'"])
    )


def _zsh_option(one: Option) -> str:
    about = _plain(one.about).replace("[", "\\[").replace("]", "\\]")
    tail = f"[{about}]" + (f":{_plain(one.shown)}:{_zsh_action(one)}" if one.value is not None else "")
    if one.repeats:
        return " ".join(_quoted(f"*{name}{tail}") for name in one.names)
    if len(one.names) == 1:
        return _quoted(f"{one.names[0]}{tail}")
    others = " ".join(one.names)
    return " ".join(_quoted(f"({others}){name}{tail}") for name in one.names)


def _zsh_argument(page: Page, one: Option) -> str:
    action = "_synguard_targets" if _asks(page) else _zsh_action(one)
    return _quoted(f"{'*' if one.repeats else '1'}:{_plain(one.names[0])}:{action}")


def _zsh_action(one: Option) -> str:
    words = " ".join(_words(one))
    if one.is_path or "FILE" in one.shown:
        return f"{{compadd {words}; _files}}" if words else "_files"
    return f"({words})" if words else " "


def _plain(text: str) -> str:
    """Return text that means itself inside a zsh specification."""
    return text.rstrip(".").replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish -------------------------------------------------------------------------------------------------------

_FISH: Final = """\
# fish completion for synguard; {note}
function __synguard_at --description 'Whether the words so far lead to this verb'
    set -l path
    set -l verbs {paths}
    for word in (commandline -opc)[2..]
        set -l longer (string trim -- "$path $word")
        contains -- "$longer" $verbs; and set path "$longer"
    end
    test "$path" = "$argv"
end

complete -c synguard -f
{lines}
"""


def fish(root: Page) -> str:
    """Return the script for fish."""
    pages = list(root.walk())
    paths = " ".join(_quoted(_path(page)) for page in pages if page is not root)
    return _FISH.format(note=_NOTE, paths=paths, lines="\n".join(line for page in pages for line in _fish_lines(page)))


def _fish_lines(page: Page) -> Iterator[str]:
    here = f"complete -c synguard -n {_quoted(f'__synguard_at {_path(page)}'.rstrip())}"
    for verb in page.verbs:
        yield f"{here} -a {verb.words[-1]} -d {_fish_quoted(verb.line)}"
    if _asks(page):
        yield f"{here} -a '({_ASK})'"
    for one in page.arguments:
        if words := _words(one):
            yield f"{here} -a '{' '.join(words)}'"
        elif one.is_path:
            yield f"{here} -F"
    for one in page.options:
        yield f"{here} {_fish_names(one)}{_fish_value(one)} -d {_fish_quoted(one.about)}"


def _fish_names(one: Option) -> str:
    return " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in one.names)


def _fish_value(one: Option) -> str:
    if one.value is None:
        return ""
    words = " ".join(_words(one))
    files = "-F" if one.is_path or "FILE" in one.shown else "-x"
    return f" -r {files}" + (f" -a '{words}'" if words else "")


def _fish_quoted(text: str) -> str:
    return "'" + re.sub(r"([\\'])", r"\\\1", text.rstrip(".")) + "'"
