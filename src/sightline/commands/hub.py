"""Commands that ask the Hugging Face hub: put a run there, fetch one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.commands.arguments import AsJson, Quiet, RunPath, print_json, progress_for

Repo = Annotated[str, typer.Argument(help="Where on the hub: OWNER/NAME.")]


def push(
    run: RunPath,
    repo: Repo,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else only you.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also the report page, which names and shows images of yours.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--license", help="For the card, as the hub spells it: mit, cc-by-4.0.")
    ] = None,
    only_to: Annotated[
        Path | None, typer.Option("--only-to", help="Only write the files into this new folder, to look at them first.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put a run on the Hugging Face hub: weights, settings, scores and a card, but no images and no names of files."""
    from sightline.hub.remote import push as send

    done = send(run, repo, public=public, report=report, licence=licence, only_to=only_to, progress=progress_for(quiet))
    if as_json:
        print_json({"run": str(run), **vars(done), "names": list(done.names)})
        return
    print("\n".join(done.names))
    print(f"{done.size / 1e6:,.1f} MB, {'nothing was sent' if only_to else 'public' if done.public else 'private'}")
    print(done.url)


def pull(
    repo: Repo,
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder to make. [dim]\\[runs/NAME][/dim]", show_default=False)
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit; else the newest.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a run from the Hugging Face hub, check every file of it, and keep it as a run folder."""
    from sightline.hub.remote import pull as fetch

    run = fetch(repo, to, revision=revision, progress=progress_for(quiet))
    if as_json:
        print_json({"run": str(run.path), **run.folder.read_state()})
        return
    print(run.headline)
    print(f"run    {run.path}")
