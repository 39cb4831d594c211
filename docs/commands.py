"""The command line -> docs/commands.md, so that the page never says anything else than ``--help`` does.

Run it after a change: ``python docs/commands.py``. A test compares.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from rich.text import Text
from typer.main import get_command

from sightline.cli import app
from sightline.settings import Settings

PAGE = Path(__file__).with_name("commands.md")

SEVERAL = 5
"""A command with so many of the settings has all of them; they are listed once."""

HEAD = """# Commands

This page is made from the command line itself by `python docs/commands.py`. Every command prints results on stdout and
progress on stderr, and takes `--help`. Exit codes: 0 done, 1 something is wrong with what was given (one message says
what and what to do), 2 the command was typed wrongly.
"""


def page() -> str:
    """Give the whole page as Markdown."""
    group: Any = get_command(app)
    context = group.make_context("sightline", ["doctor"], resilient_parsing=True)
    parts = [HEAD, "| command | does |\n|---|---|"]
    names = list(group.commands)
    found = {name: group.resolve_command(context, [name])[1] for name in names}
    commands = {}
    for name, command in found.items():
        commands |= {f"{name} {part}": one for part, one in getattr(command, "commands", {}).items()} or {name: command}
    parts[1] += "".join(
        f"\n| [`{name}`](#{name.replace(' ', '-')}) | {first_line(command)} |" for name, command in commands.items()
    )
    for name, command in commands.items():
        parts.append(section(name, command))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def section(name: str, command: Any) -> str:
    """Give one command: what it does, its arguments, its flags."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(["sightline", name, *(usage_of(p) for p in arguments), *(["[FLAGS]"] if options else [])])
    lines = [f"## {name}", "", f"`{usage}`", "", inspect.cleandoc(command.help or "")]
    if arguments or options:
        lines += ["", "| argument or flag | meaning |", "|---|---|"]
        lines += [f"| `{usage_of(p)}` | {plain(p.help)} |" for p in arguments]
        settings = [p for p in options if p.name in Settings.model_fields] if name != "train" else []
        lines += [f"| `{flag(p)}` | {plain(p.help)} |" for p in options if len(settings) < SEVERAL or p not in settings]
        if len(settings) >= SEVERAL:
            lines.append("| all settings of [`train`](#train) | |")
    return "\n".join(lines)


def usage_of(parameter: Any) -> str:
    """``SOURCE``, ``[SOURCE]``, ``FILES...``."""
    name = parameter.name.upper() + "..." * (parameter.nargs == -1)
    return name if parameter.required else f"[{name}]"


def flag(parameter: Any) -> str:
    """``--epochs N``, ``-q, --quiet``, ``--strict, --no-strict``."""
    names = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: name.startswith("--")))
    return names if parameter.is_flag else f"{names} {parameter.metavar or kind(parameter)}".replace("|", "\\|")


def kind(parameter: Any) -> str:
    """``PATH``, ``TEXT`` or ``INTEGER``: what a flag takes, by typer's own words, old and new."""
    if hasattr(parameter, "type"):
        return str(parameter.type.name).upper()
    annotation = str(parameter.type_descriptor.annotation)
    return next((word for part, word in (("Path", "PATH"), ("int", "INTEGER")) if part in annotation), "TEXT")


def plain(text: str | None) -> str:
    """Take the colours out of a help text, and what would end a table's cell."""
    return Text.from_markup(text or "").plain.replace("|", "\\|")


def first_line(command: Any) -> str:
    """Give the first sentence of a command's help."""
    return inspect.cleandoc(command.help or "").split("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
