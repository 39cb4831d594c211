"""The command line: the list of commands, and what a fault looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import sightline
from sightline.commands import comparing, data, diagnosing, hub, improving, labels, reference, runs, training, voting
from sightline.commands.seeing import parts
from sightline.errors import SightlineError
from sightline.flags import with_flags

COMMANDS: tuple[Callable[..., None], ...] = (
    data.check,
    training.train,
    training.resume,
    runs.evaluate,
    runs.predict,
    runs.report,
    diagnosing.diagnose,
    improving.improve,
    comparing.compare,
    labels.audit,
    voting.vote,
    training.lr,
    data.scaling,
    hub.push,
    hub.pull,
    reference.models,
    data.cache,
    reference.doctor,
)
"""Every command, in the order in which ``--help`` lists them."""

SETTLED = {command.__name__: command for command in (training.train, training.lr, comparing.compare, labels.audit)}
"""Commands that take every setting as a flag."""

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Commands(typer.core.TyperGroup):
    """The commands; those with settings get their flags when they are called, so that ``--help`` loads no pydantic."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed, with all its flags."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in SETTLED:
            full = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
            full.command(name, context_settings=CONTEXT)(with_flags(SETTLED[name]))
            command = typer.main.get_command(full)
        return name, command, rest


def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Labelled images in; a recogniser you can trust and see through out."""
    if version:
        print(f"sightline {sightline.__version__}")
        raise typer.Exit


def stub(command: Callable[..., None]) -> Callable[..., None]:
    """Stand in the list for a command whose flags are not known yet."""

    def shown() -> None: ...

    shown.__doc__ = command.__doc__
    return shown


app = typer.Typer(
    name="sightline",
    cls=Commands,
    help="Labelled images in; a recogniser you can trust and see through out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
app.callback(invoke_without_command=True)(root)
for command in COMMANDS:
    app.command(command.__name__)(stub(command) if command.__name__ in SETTLED else command)


app.add_typer(parts.make(CONTEXT), name="see")


def main() -> None:
    """Run the command line; a fault of the user's is one message and exit code 1."""
    try:
        app()
    except SightlineError as error:
        print(f"error: {error.fault}\n{error.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
