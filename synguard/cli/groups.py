"""Verbs that are imported only when asked for, and errors told in one sentence.

Every way out of the command line passes ``VerbGroup.main``: it turns each error into ``synguard: …`` on stderr
and the documented exit code, and keeps tracebacks for ``--debug`` or ``SYNGUARD_DEBUG=1``.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from synguard.errors import SynguardError
from synguard.report.tables import printable

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


def _write_help(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    """Write what it is as the docstring has it, examples first and copyable, then usage and options."""
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
        return _load(f"{self.package}.{cmd_name}", cmd_name)

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
            near = get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
            meant = f"did you mean {near[0]}?" if near else f'see "{ctx.command_path} --help"'
            ctx.fail(f'there is no verb "{printable(args[0])}"; {meant}')
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]  # never returns
        """Run a verb and exit with its documented code."""
        words, debug = _without_debug(list(sys.argv[1:] if args is None else args))
        extra |= {"standalone_mode": False}
        sys.exit(_told(debug, lambda: super(VerbGroup, self).main(words, "synguard", **extra)))


def _load(module: str, name: str) -> Any:
    entry = getattr(import_module(module), name)
    if isinstance(entry, typer.Typer):
        command: Any = typer.main.get_command(entry)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, cls=VerbCommand, context_settings={"help_option_names": ["-h", "--help"]})(entry)
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
    except BrokenPipeError:
        _leave_the_pipe()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        _say("stopped; nothing was changed")
        return 1
    except typer.TyperException as error:
        _say(_usage_sentence(error))
        return 2
    except SynguardError as error:
        _show_traceback(debug)
        for line in str(error).splitlines() or [type(error).__name__]:
            _say(line)
        return error.exit_code
    except Exception as error:  # an operator gets a sentence, not a traceback; --debug shows it
        if not _show_traceback(debug):
            _say(f"unexpected {type(error).__name__}: {error}; --debug shows where")
        return 1


def _say(sentence: str) -> None:
    print(f"synguard: {printable(sentence)}", file=sys.stderr)


def _show_traceback(debug: bool) -> bool:
    if debug:
        traceback.print_exc()
    return debug


def _leave_the_pipe() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush stays quiet too."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # lives until exit


def _usage_sentence(error: typer.TyperException) -> str:
    """Return a usage error of the parser as one sentence in our words."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "synguard"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = [name for param in context.command.params for name in param.opts] if context is not None else []
        near = get_close_matches(option, known, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}?" if near else f'see "{path} --help"'
        return f"{path} has no option {option}; {meant}"
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    message = message[:1].lower() + message[1:]
    return message if message.endswith("?") or "--help" in message else f'{message}; see "{path} --help"'
