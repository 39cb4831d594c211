"""A run folder <-> a repository of the Hugging Face hub. The only file that asks a hub for anything."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import __version__, files
from sightline.errors import MissingExtraError, RunError, SightlineError
from sightline.hub import parcel
from sightline.making.trained import Run
from sightline.progress import Progress, Task
from sightline.run import RunFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling


@dataclass(frozen=True)
class Pushed:
    """What has come of a push.

    Attributes:
        repo: ``OWNER/NAME``.
        url: where it is, or the folder, if it was only written there.
        commit: its version there, 40 hexadecimal digits; empty if nothing was pushed.
        public: whether everybody can see it.
        names: of the files.
        size: of all of them, in bytes.
    """

    repo: str
    url: str
    commit: str
    public: bool
    names: tuple[str, ...]
    size: int


def push(
    run: Run | Path | str,
    repo: str,
    *,
    public: bool = False,
    report: bool = False,
    licence: str | None = None,
    only_to: Path | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Put a run on the hub, in one commit: weights, settings, scores, and a card; no names or pictures of images.

    Args:
        run: the run, or its folder.
        repo: ``OWNER/NAME``; made if it does not exist, privately unless told otherwise.
        public: let everybody see it.
        report: also the report page, which names and shows images.
        licence: for the card, as the hub spells it: ``mit``, ``cc-by-4.0``.
        only_to: write the files into this new folder, to look at them, and ask nobody for anything.
        progress: shows what happens; on stderr by default.

    Raises:
        RunError: the run is not finished, the name is none, the repository holds something else or is public without
            ``public``, or the hub cannot be reached or refuses.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    name_of(repo)
    progress = progress or Progress()
    run = run if isinstance(run, Run) else Run.load(run)
    if only_to is not None:
        with files.whole_folder(Path(only_to)) as folder:
            names = parcel.pack(run, folder, repo, report=report, licence=licence)
            size = _size(folder)
        return Pushed(repo, str(only_to), "", False, tuple(names), size)
    api = _api()
    with tempfile.TemporaryDirectory(prefix="sightline-") as place:
        folder = Path(place)
        names = parcel.pack(run, folder, repo, report=report, licence=licence)
        size = _size(folder)
        with _asking(api, repo), progress.task(f"Pushing {len(names)} files, {size / 1e6:,.1f} MB"):
            there = _there(api, repo)
            if there is None:
                api.create_repo(repo, private=not public)
                public_now = public
            else:
                public_now = not there.private
                _replaceable(there, repo, public)
            commit = _commit(api, repo, folder, names, there)
    if public and not public_now:
        progress.note(f"'{repo}' was private and still is; the hub's page of it has a switch for that")
    return Pushed(repo, f"{api.endpoint}/{repo}", commit, public_now, tuple(names), size)


def pull(
    repo: str, to: Path | str | None = None, *, revision: str | None = None, progress: Progress | None = None
) -> Run:
    """Fetch a run from the hub and check every file of it; the folder is then there whole, or not at all.

    Args:
        repo: ``OWNER/NAME``.
        to: the folder to make; ``runs/NAME`` by default.
        revision: branch, tag or commit; the newest of its main branch by default.
        progress: shows what happens; on stderr by default.

    Raises:
        RunError: the folder exists already, the hub cannot be reached or knows no such run, or what it has is no whole
            run, or has files that belong to none.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    short = name_of(repo)
    target = Path("runs") / short if to is None else Path(to)
    progress = progress or Progress()
    api = _api()
    with files.whole_folder(target) as staging:
        folder = RunFolder(staging)
        with _asking(api, repo):
            info = api.model_info(repo, revision=revision, files_metadata=True)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        wanted = parcel.choose(siblings, repo)
        total = sum(siblings[name].size or 0 for name in wanted)
        with (
            progress.task(f"Pulling {total / 1e6:,.1f} MB", total=total) as task,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".part") as store,
        ):
            for name in wanted:
                size, (least, most) = siblings[name].size or 0, parcel.bounds(name, folder, repo)
                if not least <= size <= most:
                    raise RunError(
                        f"'{name}' of '{repo}' has {size:,} bytes; by its other files it has {least:,} to {most:,}.",
                        "Nothing was kept. Ask its owner what is in there.",
                    )
                with _asking(api, repo):
                    arrived = _fetch(api, repo, name, str(info.sha), Path(store), task)
                _verify(arrived, siblings[name], repo)
                arrived.rename(getattr(folder, parcel.TRAVELS[name]))
        parcel.check(folder, repo)
        folder.write_state(pulled={"repo": repo, "commit": info.sha, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    return Run(RunFolder.open(target))


def name_of(repo: str) -> str:
    """Give NAME of ``OWNER/NAME``, or refuse what is none."""
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    if not re.fullmatch(f"{part}/{part}", repo) or "--" in repo or ".." in repo:
        raise RunError(f"'{repo}' names no repository.", "Write OWNER/NAME, such as jane/hand-signs.")
    return repo.rpartition("/")[2]


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub") from None
    return HfApi(library_name="sightline", library_version=__version__)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _there(api: HfApi, repo: str) -> ModelInfo | None:
    """Look what the hub has under this name; None if there is nothing that the user may see."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repo)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:  # a wrong or missing token looks like a missing repository
            raise
        return None


def _replaceable(there: ModelInfo, repo: str, public: bool) -> None:
    """Refuse to write over something that is no run, or to show to everybody what may have been meant as private."""
    other = sorted({sibling.rfilename for sibling in there.siblings or ()} - parcel.TRAVELS.keys() - parcel.BESIDE)
    if other:
        raise RunError(f"'{repo}' holds something else: {', '.join(other[:5])}.", "Push to another name.")
    if not there.private and not public:
        raise RunError(
            f"'{repo}' is public: everybody would see this run.",
            "If that is meant, say --public; else use another name.",
        )


def _commit(api: HfApi, repo: str, folder: Path, names: list[str], there: ModelInfo | None) -> str:
    """Write all files at once, and take away those of an earlier push that are none any more."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    old = {sibling.rfilename for sibling in (there.siblings if there else None) or ()}
    gone = (old & (parcel.TRAVELS.keys() | {parcel.REPORT})) - set(names)
    operations: list[Any] = [CommitOperationAdd(name, folder / name) for name in names]
    operations += [CommitOperationDelete(name) for name in sorted(gone)]
    with _silent():
        done = api.create_commit(repo, operations, commit_message="Push a run with Sightline")
    return str(done.oid)


def _fetch(api: HfApi, repo: str, name: str, revision: str, store: Path, task: Task) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Tells our progress what theirs is told."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            task.advance(n or 0)

    return Path(
        hf_hub_download(
            repo,
            name,
            revision=revision,
            local_dir=store,
            endpoint=api.endpoint,
            library_name="sightline",
            library_version=__version__,
            tqdm_class=Bar,
        )
    )


def _verify(path: Path, told: RepoSibling, repo: str) -> None:
    """Hold a file against the size and checksum that the hub tells of it: SHA-256 if it is large, git's if not."""
    content = path.read_bytes()
    if told.lfs is not None:
        good = hashlib.sha256(content).hexdigest() == told.lfs.sha256
    else:
        header = b"blob %d\0" % len(content)
        good = hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == told.blob_id
    if not good or (told.size is not None and len(content) != told.size):
        raise RunError(
            f"'{told.rfilename}' of '{repo}' did not arrive as the hub has it.",
            "Nothing was kept. Run the same command again.",
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the package from drawing bars of its own."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _asking(api: HfApi, repo: str) -> Iterator[None]:
    """Ask the hub inside the block; a refusal or a broken line is told in words."""
    from huggingface_hub import errors

    login = "Log in with `hf auth login`, or put a token into the environment variable HF_TOKEN."
    try:
        yield
    except SightlineError:
        raise
    except errors.GatedRepoError:
        raise RunError(f"'{repo}' is open only to those whom its owner lets in.", f"Ask there, then: {login}") from None
    except errors.RevisionNotFoundError:
        raise RunError(f"'{repo}' has no such revision.", "Leave it out to have the newest.") from None
    except errors.RepositoryNotFoundError:
        raise RunError(
            f"{api.endpoint} has no '{repo}', or shows it only to some who are logged in.", f"Check the name. {login}"
        ) from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        allowed = code not in (401, 403)
        raise RunError(
            f"{api.endpoint} refuses ({code}): {str(error.server_message or error).splitlines()[0]}",
            "Try again later." if allowed else f"{login} The token must have the right to write to push.",
        ) from None
    except Exception as error:  # what breaks in a network has another class in every version of that package
        why = error.__cause__ or error
        told = str(why).strip().partition("\n")[0]
        raise RunError(
            f"{api.endpoint} cannot be asked: {type(why).__name__}: {told}",
            "Check the connection (and HF_ENDPOINT and HF_HUB_OFFLINE, if they are set), then try again.",
        ) from error
