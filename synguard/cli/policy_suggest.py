"""``synguard policy suggest``: limits from this host's own recorded traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synguard.cli.options import ConfigFile, Json
from synguard.errors import NotPermittedError, RefusedError, SynguardError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synguard.addresses import Network
    from synguard.policy.models import Config, Policy
    from synguard.replay.quiet_periods import QuietPeriods
    from synguard.replay.suggestion import Suggestion
    from synguard.replay.traffic_profile import TrafficProfile


def suggest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Recordings of synguard run --record.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the pack to FILE instead of stdout.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", metavar="NUMBER", min=1.5, max=100, help="Set limits to NUMBER times what was seen."),
    ] = None,
    keep_incidents: Annotated[
        bool, typer.Option("--keep-incidents", help="Measure incidents too: they were no attacks.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it is there already.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Suggest limits from recorded traffic, each with its reason.

    Examples:
      synguard run --record day.rec --for 1d
      synguard policy suggest day.rec
      synguard policy suggest monday.rec tuesday.rec -o /etc/synguard/mine.toml
      synguard policy check /etc/synguard/mine.toml

    Prints a policy file for the policies in effect. Times that these policies
    take for attacks are left out; if those were your users, use --keep-incidents.
    Protected sources are not measured, since they are never banned.
    """
    from synguard.cli.recordings import allowed, replaying
    from synguard.output.tables import print_json
    from synguard.policy.load import load_pack, packs_directory
    from synguard.replay.suggestion import margin_for
    from synguard.replay.suggestion import suggest as suggestions_from
    from synguard.replay.traffic_profile import TrafficProfile
    from synguard.report.suggestion import pack_text, shown, suggestion_shape

    settings, policies = replaying(config, None)
    networks = allowed(settings)
    courses = [_course(file, settings, policies, networks, "looking for attacks") for file in files]
    profile = TrafficProfile(policies, networks)
    for file, course in zip(files, courses, strict=True):
        _measure(file, profile, course, keep_incidents)
    chosen = margin_for(profile.calm_s, margin)
    [usual] = load_pack(packs_directory() / "default.toml").policy
    suggestions = suggestions_from(policies, profile, chosen, usual)
    if not any(one.enough for one in suggestions):
        _too_little(profile, suggestions)
    new = tuple(one.policy for one in suggestions)
    tried = [_course(file, settings, new, networks, "trying the limits") for file in files]
    basis = _basis(files, profile, chosen, courses, tried, suggestions, keep_incidents)
    for line in shown(basis.warnings):
        typer.echo(line, err=True)
    if output is not None:
        _write(output, pack_text(suggestions, basis), force)
        named = output if "/" in str(output) or output.suffix == ".toml" else f"./{output}"
        typer.echo(f"try {output} on a recording: synguard policy replay {files[0]} --policy {named}", err=True)
    if json:
        print_json(suggestion_shape(suggestions, basis))
    elif output is None:
        print(pack_text(suggestions, basis), end="")


def _course(
    file: Path, settings: Config, policies: Sequence[Policy], networks: dict[Network, str], what: str
) -> QuietPeriods:
    from synguard.cli.recordings import moments
    from synguard.recording.reader import Recording
    from synguard.replay.player import Player
    from synguard.replay.quiet_periods import QuietPeriods

    player = Player(settings, policies, allowed=networks)
    with Recording(file) as recording:
        course = QuietPeriods(recording.head.mode)
        for moment in moments(recording, f"{what} in {file.name}"):
            course.add(player.play(moment), player.scores)
    return course


def _measure(file: Path, profile: TrafficProfile, course: QuietPeriods, keep_incidents: bool) -> None:
    from synguard.cli.recordings import moments
    from synguard.recording.reader import Recording

    profile.begin()
    with Recording(file) as recording:
        for moment in moments(recording, f"measuring {file.name}"):
            profile.add(moment, keep_incidents or course.calm(moment.utc))


def _basis(
    files: Sequence[Path],
    profile: TrafficProfile,
    margin: Any,
    courses: Sequence[QuietPeriods],
    tried: Sequence[QuietPeriods],
    suggestions: Sequence[Suggestion],
    keep_incidents: bool,
) -> Any:
    from synguard.replay.quiet_periods import warnings
    from synguard.report.suggestion import Basis

    outcomes = [
        course.within(None if keep_incidents else before) for course, before in zip(tried, courses, strict=True)
    ]
    return Basis(
        files=tuple(file.name for file in files),
        recorded_s=sum(course.seconds for course in courses),
        calm_s=profile.calm_s,
        margin=margin,
        left_out=() if keep_incidents else tuple(one for course in courses for one in course.incidents),
        highest_score=max(score for _, score in outcomes),
        bans=sum(bans for bans, _ in outcomes),
        warnings=(*warnings(courses, profile.calm_s), *(text for one in suggestions for text in one.warnings)),
    )


def _too_little(profile: TrafficProfile, suggestions: Sequence[Suggestion]) -> None:
    """Say that nothing can be said.

    Raises:
        SynguardError: Always.
    """
    from synguard.units import format_duration

    most = max(one.seen for one in suggestions)
    raise SynguardError(
        f"too little traffic to suggest limits: at most {most} sources held a connection to one policy's ports in "
        f"{format_duration(profile.calm_s)} of calm; record for longer (synguard run --record FILE --for 1d), or keep "
        "the pack as it is"
    )


def _write(path: Path, text: str, force: bool) -> None:
    """Write the pack, over another file only if told to.

    Raises:
        NotPermittedError: The file may not be written there.
        RefusedError: It is there already.
        UsageError: It cannot be written.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise RefusedError(f"{path} is there already: name a new file, or add --force to replace it") from error
    except PermissionError as error:
        raise NotPermittedError(f"{path} may not be written: name a file in a directory of your own") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
