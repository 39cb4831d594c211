"""The list of the parts of ``sightline see``, and how the run alone comes to mean its gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from sightline.commands.seeing import dreaming, lessons, looking, surveys
from sightline.errors import SettingsError, did_you_mean

PARTS: tuple[Callable[..., None], ...] = (
    looking.gallery,
    looking.kernels,
    looking.maps,
    looking.saliency,
    surveys.landscape,
    dreaming.layers,
    dreaming.unit,
    dreaming.dream,
    surveys.atlas,
    lessons.arithmetic,
)
"""Every part, in the order in which ``sightline see --help`` lists them."""


class Parts(typer.core.TyperGroup):
    """The parts; a first word that is a folder is a run, and its gallery is wanted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``gallery`` in front where no part is named.

        Raises:
            SettingsError: the first word is neither a part nor a folder.
        """
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("--help", "-h"):
            if not first.startswith("-") and not Path(first).is_dir():
                beside = Path(first).parent if Path(first).parent.is_dir() else Path("runs")
                runs = [str(path) for path in beside.iterdir() if path.is_dir()] if beside.is_dir() else []
                raise SettingsError(
                    f"'{first}' is neither a run folder nor a part of `sightline see`."
                    f"{did_you_mean(first, [*self.commands, *runs])}",
                    f"Give a run folder for its gallery, or one of: {', '.join(self.commands)}.",
                )
            args = ["gallery", *args]
        return list(super().parse_args(ctx, args))


def make(context: dict[str, Any]) -> typer.Typer:
    """Give ``sightline see`` with all its parts; ``context`` is the settings of every command's context."""
    app = typer.Typer(
        cls=Parts,
        help=(
            "See into a trained network: `see RUN` writes the gallery page, `see PART RUN` one part of it.\n\n"
            "Example: sightline see runs/20261122-141530"
        ),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings=context,
        subcommand_metavar="[PART] RUN",
    )
    for part in PARTS:
        app.command(part.__name__)(part)
    return app
