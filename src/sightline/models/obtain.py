"""What a user calls weights -> tensors under our names, with what belongs to them; fetched only when that is allowed.

``imagenet`` is the public file of the network, a path is a file of one's own or a run folder. Public files are looked
for in the cache and where torchvision keeps its own. What comes as a pickle is kept in the cache as safetensors once it
has been found to fit, and read from there ever after.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sightline import files
from sightline.data.preprocess import Preprocessing
from sightline.download import fetch, sha256_of
from sightline.errors import ModelError, RunError, SourceError, did_you_mean
from sightline.models import arithmetic, senet, zoo
from sightline.models.network import Network
from sightline.models.pickled import read_pickled
from sightline.models.plan import Plan
from sightline.models.pretrained import Pretrained
from sightline.models.public import PUBLIC, Public
from sightline.models.weights import read
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import Settings

IMAGENET = "imagenet"
PICKLED = (".pth", ".pt", ".bin")
SAFE = ".safetensors"
STEMS = ("paper", "small")


def obtain(
    weights: str,
    model: str,
    *,
    download: bool = False,
    progress: Progress | None = None,
    cache: Path | None = None,
    public: Mapping[str, Public] | None = None,
) -> Pretrained:
    """Find weights and read them; nothing is fetched unless ``download`` is set.

    Args:
        weights: ``imagenet``, a ``.safetensors``, ``.pth`` or ``.pt`` file, or a run folder.
        model: the network they are for; a run folder knows its own.
        download: fetch a public file that is not on this machine.
        progress: shows the download.
        cache: the cache folder; None: $SIGHTLINE_CACHE or the user's.
        public: the table of public files; ``PUBLIC`` by default.

    Raises:
        ModelError: there are none of that name, or the file cannot be had, is damaged, holds more than weights, or has
            another SHA-256 than was published.
        RunError: the run folder is damaged.
    """
    table = PUBLIC if public is None else public
    progress = progress or Progress(quiet=True)
    if weights == IMAGENET:
        return _imagenet(model, table, cache, download, progress)
    path = Path(weights).expanduser()
    if path.is_dir():
        return _run(RunFolder.open(path), None, model)
    if not path.is_file():
        meant = did_you_mean(weights, [IMAGENET])
        raise ModelError(
            f"there are no weights '{weights}': it is no file and no folder.{meant}",
            "Use `imagenet`, a .safetensors or .pth file, or a run folder.",
        )
    beside = RunFolder(path.parent)
    if path.name in (beside.best.name, beside.last.name) and beside.state.is_file() and beside.data.is_file():
        return _run(RunFolder.open(path.parent), path, model)
    return _file(path, model, table, cache)


def wanted(settings: Settings, progress: Progress) -> Pretrained | None:
    """Obtain the weights that settings ask for; None if they ask for none.

    Raises:
        ModelError: as ``obtain``.
    """
    if settings.weights is None:
        return None
    return obtain(settings.weights, settings.model, download=settings.download, progress=progress)


def public_network(
    model: str,
    *,
    download: bool = False,
    progress: Progress | None = None,
    cache: Path | None = None,
    public: Mapping[str, Public] | None = None,
) -> tuple[Network, Preprocessing]:
    """Build a network as its ImageNet weights know it, 1,000 classes and all, with those weights.

    Returns:
        The network in evaluation mode, and what its images go through.
    """
    weights = obtain(IMAGENET, model, download=download, progress=progress, cache=cache, public=public)
    assert weights.plan is not None
    assert weights.preprocessing is not None
    network = Network(weights.plan)
    names = tuple(str(number) for number in range((PUBLIC if public is None else public)[model].classes))
    network.load_state_dict(replace(weights, classes=names).fit(network, names).state)
    weights.keep()
    return network.eval(), weights.preprocessing


def built(model: str) -> dict[str, Any]:
    """Give the options that make a network the one its public weights are for, at any size of images."""
    own = zoo.entry(model).own
    return {name: value for name, value in {"variant": "public", "stem": "paper"}.items() if name in own}


def _imagenet(
    model: str,
    table: Mapping[str, Public],
    cache: Path | None,
    download: bool,
    progress: Progress,
) -> Pretrained:
    """Find the public file of a network: kept as safetensors, as it was published, or to be fetched."""
    zoo.entry(model)
    if model not in table:
        raise ModelError(
            f"there are no public ImageNet weights for '{model}'.",
            f"There are for {', '.join(table)}. Or give a file or a run folder of your own.",
        )
    file, folder = table[model].file, _folder(cache, model)
    kept = folder / f"{Path(file.name).stem}{SAFE}"
    if kept.is_file():
        return _public(model, table[model], kept, read(kept)[0], file.sha256)
    places = [place / file.name for place in (folder, torch_hub())]
    path = next((place for place in places if place.is_file()), None)
    if path is None and not download:
        raise _absent(model, table[model], folder)
    try:
        fetched = fetch(file, folder, progress=progress) if path is None else None
    except SourceError as error:
        raise ModelError(error.fault, error.hint) from None
    path = path or fetched
    assert path is not None
    digits = sha256_of(path)
    if not digits.startswith(file.sha256):
        raise ModelError(
            f"'{path}' is not the file that was published: its SHA-256 begins with {digits[:8]}, not "
            f"{file.sha256[:8]}.",
            f"Delete it and fetch it again from {file.urls[0]}.",
        )
    weights = _public(model, table[model], path, read_pickled(path), digits)
    return replace(weights, place=kept, fetched=fetched)


def _absent(model: str, public: Public, folder: Path) -> ModelError:
    file = public.file
    return ModelError(
        f"the ImageNet weights of '{model}' are not on this machine: {file.name} ({file.megabytes}).",
        f"Add --download (in Python download=True) to fetch them. Or fetch {file.urls[0]} and put it into '{folder}', "
        "or name the file you have: --weights PATH.",
    )


def torch_hub() -> Path:
    """Give the folder in which torchvision keeps the files it has fetched."""
    base = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(base).expanduser() / "hub" / "checkpoints"


def _public(model: str, public: Public, file: Path, tensors: Mapping[str, Tensor], sha256: str) -> Pretrained:
    """Put what is known of a public file beside its tensors."""
    side, options = public.size, built(model)
    tensors, notes = _named(model, tensors)
    return Pretrained(
        name=f"{public.source}'s ImageNet weights ({public.file.name})",
        origin=IMAGENET,
        model=model,
        options=options,
        tensors=tensors,
        file=file,
        sha256=sha256,
        preprocessing=Preprocessing("image", 3, (side, side), mean=public.mean, std=public.std),
        plan=zoo.plan(model, in_channels=3, num_classes=public.classes, image_size=side, **options),
        public=True,
        notes=notes,
    )


def _run(folder: RunFolder, file: Path | None, model: str) -> Pretrained:
    """Read the weights of a run of ours, which knows everything about them."""
    settings = Settings.from_toml(folder.need(folder.settings, "know its network"), table="settings")
    told = folder.read_json(folder.data, "know its classes")
    _same_network(f"the weights of run '{folder.path}'", settings.model, model)
    path = file or folder.need(folder.best, "give its weights")
    try:
        preprocessing = Preprocessing.from_dict(told["preprocessing"])
        classes = tuple(map(str, told["classes"]))
    except (KeyError, TypeError) as error:
        raise RunError(f"'{folder.data}' is damaged: {error}.", "Restore it from a copy, or train again.") from None
    own = {**settings.options}

    def planned(**options: Any) -> Plan:
        channels, *size = preprocessing.shape
        return zoo.plan(
            settings.model, in_channels=channels, num_classes=len(classes), image_size=tuple(size), **{**own, **options}
        )

    plan, tensors = planned(), read(path)[0]
    if "stem" in zoo.entry(settings.model).own and own.get("stem", "auto") == "auto":
        bodies = {stem: planned(stem=stem).body for stem in STEMS}
        if bodies["paper"] != bodies["small"]:  # else it has one stem only
            own["stem"] = next(stem for stem in STEMS if bodies[stem] == plan.body)
    return Pretrained(
        name=f"the weights of run '{folder.path}'",
        origin=str((file or folder.path).resolve()),
        model=settings.model,
        options={**_patch(settings.model, tensors), **own},
        tensors=tensors,
        file=path,
        sha256=sha256_of(path),
        classes=classes,
        preprocessing=preprocessing,
        plan=plan,
    )


def _file(path: Path, model: str, table: Mapping[str, Public], cache: Path | None) -> Pretrained:
    """Read a file that may be from anywhere; a public one is known by its checksum."""
    if path.suffix not in (SAFE, *PICKLED):
        raise ModelError(
            f"weights file '{path}' is called '{path.suffix}', not {SAFE} or {', '.join(PICKLED)}.",
            "Give a safetensors file, or a state_dict that torch.save wrote.",
        )
    digits = sha256_of(path)
    known = next((name for name, public in table.items() if digits.startswith(public.file.sha256)), None)
    if known is not None:
        _same_network(f"'{path}'", known, model)
        kept = _folder(cache, known) / f"{Path(table[known].file.name).stem}{SAFE}"
        tensors = read(kept)[0] if kept.is_file() else read_pickled(path)
        return replace(_public(known, table[known], path, tensors, digits), origin=str(path.resolve()), place=kept)
    safe = path.suffix == SAFE
    place = None if safe else _folder(cache, model) / f"{path.stem}-{digits[:16]}{SAFE}"
    if place is None or place.is_file():
        tensors, told = read(place or path)
    else:
        tensors, told = read_pickled(path), {}
    tensors, notes = _named(model, tensors)
    own = zoo.entry(model).own
    options = {**_stem(model, tensors), **_patch(model, tensors)}
    if "variant" in own and "sightline" not in told:
        options["variant"] = "public"
        notes = (*notes, "the file is taken to be for torchvision's or timm's network (variant=public)")
    return Pretrained(
        name=f"the weights in '{path}'",
        origin=str(path.resolve()),
        model=model,
        options=options,
        tensors=tensors,
        file=path,
        sha256=digits,
        notes=notes,
        place=place,
    )


def _same_network(whose: str, theirs: str, model: str) -> None:
    """Refuse weights of another network, unless the user named none and has the default."""
    if model not in (theirs, Settings.model_fields["model"].default):
        raise ModelError(
            f"{whose} are for '{theirs}', not '{model}'.", f"Leave the model out, or say --model {theirs}."
        )


def _folder(cache: Path | None, model: str) -> Path:
    return files.cache_folder(cache) / "weights" / model


def _named(model: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Give the tensors under our names, and say whose names they had."""
    if model in senet.TABLE and any(theirs in name for name in tensors for theirs, _ in senet.TIMM):
        return {senet.from_timm(name): value for name, value in tensors.items()}, ("its names are timm's",)
    return dict(tensors), ()


def _stem(model: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Choose the stem whose first kernels are as large as the file's, whatever the size of the images."""
    entry = zoo.entry(model)
    if "stem" not in entry.own:
        return {}
    for stem in STEMS:
        plan = zoo.plan(model, in_channels=3, num_classes=entry.classes, image_size=entry.native[1:], stem=stem)
        first = next(row for row in arithmetic.table(plan) if row.kernel)
        weight = tensors.get(f"{first.name}.weight")
        if weight is not None and tuple(weight.shape[2:]) == first.kernel:
            return {"stem": stem}
    return {}


def _patch(model: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Keep the size of the patches that the weights were trained with, whatever the size of the images."""
    weight = tensors.get("patch.weight")
    return {"patch": weight.shape[-1]} if weight is not None and "patch" in zoo.entry(model).own else {}
