"""Verbs that are imported only when asked for, and errors reported in one sentence.

Every way out of the command line passes ``VerbGroup.main``: it turns each error into ``synguard: …`` on stderr
and the documented exit code, and keeps tracebacks for ``--debug`` or ``SYNGUARD_DEBUG=1``.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword
from typing import Any, ClassVar, Final, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from synguard.cli.usage_errors import nearest_verb, usage_sentence
from synguard.errors import SynguardError
from synguard.output.tables import printable

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: the function ``name`` (or a Typer app of that name) in the module ``name``."""

    name: str
    line: str
    """Its line in ``synguard --help``."""
    parts: tuple[str, ...] = ()
    """Verbs below it, as ``policy check``."""


class PipeClosedError(Exception):
    """Nobody reads what is printed any more, which is no failure: ``synguard bans | head``."""


def _without_types(command: TyperCommand | TyperGroup) -> None:
    """Show arguments by their names alone, as man pages do: no Python types, no braces around required ones."""
    for one in command.params:
        if isinstance(one, TyperArgument):
            one.display_type_rich = lambda **_: ""  # type: ignore[method-assign]  # there is no setting for it
            if one.required:
                usage = one._usage_display_name().replace("{", "").replace("}", "")
                one._usage_display_name = lambda usage=usage: usage  # type: ignore[method-assign, misc]  # nor for this


def _write_help(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    """Write what it is as the docstring has it, examples first and copyable, then usage and options."""
    _without_types(command)
    formatter.write((command.help or "").rstrip("\n") + "\n\n")
    command.format_usage(ctx, formatter)
    command.format_options(ctx, formatter)
    if command.epilog:
        formatter.write("\n" + command.epilog)


class VerbCommand(TyperCommand):
    """A verb's command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _write_help(self, ctx, formatter)


class VerbGroup(TyperGroup):
    """A group whose verbs live in modules of their own; ``verbs`` lists them in the order of ``--help``."""

    verbs: ClassVar[tuple[Verb, ...]] = ()
    package: ClassVar[str] = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _write_help(self, ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs' names."""
        return [verb.name for verb in self.verbs] or super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one verb and return its command, or None where there is no such verb."""
        if not self.verbs:
            return super().get_command(ctx, cmd_name)
        if cmd_name not in self.list_commands(ctx):
            return None
        word = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        return _load(f"{self.package}.{word}", word, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs without importing them."""
        lines = {verb.name: verb.line for verb in self.verbs}
        lines |= {name: (one.help or "").partition("\n")[0] for name, one in self.commands.items()}
        with formatter.section("Verbs"):
            formatter.write_dl(list(lines.items()))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help where nothing was asked for; that is still a usage error."""
        if not args:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; a mistyped one is answered with the nearest."""
        if not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            ctx.fail(f'there is no verb "{printable(args[0])}"; {nearest_verb(args[0], self.list_commands(ctx), ctx)}')
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry the verb out; that no one reads on is handed past the parser, which would make a failure of it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosedError from error

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]  # never returns
        """Run a verb and exit with its documented code."""
        stand_in_for_closed_streams()
        words, debug = _without_debug(list(sys.argv[1:] if args is None else args))
        extra |= {"standalone_mode": False}
        sys.exit(_told(debug, lambda: super(VerbGroup, self).main(words, "synguard", **extra)))


NAMES: Final = {"help_option_names": ["-h", "--help"]}


def group_of(help_text: str, *verbs: Callable[..., None]) -> typer.Typer:
    """Return a verb that has verbs below it."""
    made = typer.Typer(
        cls=VerbGroup,
        help=help_text,
        subcommand_metavar="VERB ...",
        add_completion=False,
        rich_markup_mode=None,
        context_settings=NAMES,
    )
    for verb in verbs:
        made.command(cls=VerbCommand, context_settings=NAMES)(verb)
    return made


def _load(module: str, entry_name: str, name: str) -> Any:
    entry = getattr(import_module(module), entry_name)
    if isinstance(entry, typer.Typer):
        command: Any = typer.main.get_command(entry)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, cls=VerbCommand, context_settings=NAMES)(entry)
        command = typer.main.get_command(single)
    command.name = name
    return command


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Return the words without ``--debug``, which may stand anywhere before ``--``, and whether it is wanted."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"] + words[end:]
    return kept, len(kept) < len(words) or os.environ.get("SYNGUARD_DEBUG", "0") not in ("", "0")


def _told(debug: bool, call: Callable[[], Any]) -> int:
    """Return the exit code of ``call``, after telling what went wrong, if anything, in one sentence."""
    try:
        code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, PipeClosedError):
        _leave_the_pipe()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # an operator gets a sentence, not a traceback; --debug shows it
        return _failed(error, debug)


def _failed(error: Exception, debug: bool) -> int:
    """Return the exit code of an error, after telling it."""
    if isinstance(error, typer.Abort):
        _say("stopped; nothing was changed")
        return 1
    if isinstance(error, typer.TyperException):
        _say(usage_sentence(error))
        return 2
    shown = _show_traceback(debug)
    if isinstance(error, SynguardError):
        for line in str(error).splitlines() or [type(error).__name__]:
            _say(line)
        return error.exit_code
    if isinstance(error, OSError):
        what = "the answer cannot be written" if _nobody_takes_the_answer() else error.filename or "the system refuses"
        _say(f"{what}: {error.strerror or error}; --debug shows where")
    elif not shown:
        _say(f"unexpected {type(error).__name__}: {error}; --debug shows where")
    return 1


def stand_in_for_closed_streams() -> None:
    """Let every stream be one that can be asked and written to, whatever the shell closed or the locale lacks.

    ``>&-`` leaves None in place of a stream. What an encoding cannot say is escaped, as control characters are.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # lives until exit
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(sentence: str) -> None:
    print(f"synguard: {printable(sentence)}", file=sys.stderr)


def _show_traceback(debug: bool) -> bool:
    if debug:
        traceback.print_exc()
    return debug


def _nobody_takes_the_answer() -> bool:
    """Return whether stdout takes nothing any more; what is left in it would fail again as the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _leave_the_pipe()
        return True
    return False


def _leave_the_pipe() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush stays quiet too."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # lives until exit
