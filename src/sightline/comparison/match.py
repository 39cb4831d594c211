"""A run folder and the settings wanted -> whether it is the run that is wanted, or in what it differs."""

from __future__ import annotations

from typing import Any

from sightline.prepared import Prepared
from sightline.run import RunFolder
from sightline.settings import Settings, read_toml

HOW = {
    *("runs", "name", "trackers", "checkpoint_minutes"),  # where things go
    *("data_dir", "download", "strict"),  # which images: the fingerprint says
    *("device", "compile", "keep_memory"),  # how it is computed
    *("minutes", "split_seed"),  # looked at apart
}
"""Settings on which results do not depend, or not by themselves."""

OPEN = {None, "auto"}
"""Values that mean: choose for me."""


def differences(folder: RunFolder, wanted: Settings, data: Prepared) -> list[str]:
    """Say in what a run differs from the one that is wanted, in what its results depend on.

    A setting that is wanted open must have been left open; one that is wanted as a value must be that in the run as
    resolved. A setting that did not exist when the run was made had what is now its default.

    Args:
        folder: the run.
        wanted: settings as given, with the seed.
        data: what it would be trained on.

    Returns:
        Phrases such as ``lr is 0.05, not 0.1``; none if it is the wanted run.
    """
    tables = read_toml(folder.need(folder.settings, "know its settings"))
    resolved, given = tables.get("settings", {}), tables.get("given", {})
    defaults, plain = Settings().model_dump(mode="json"), wanted.model_dump(mode="json")
    found = []
    for name, value in plain.items():
        if name in HOW:
            continue
        if isinstance(value, dict | list) or value not in OPEN:
            has = resolved.get(name, defaults[name])
        else:
            has = given.get(name, defaults[name])
        if _plain(has) != _plain(value):
            found.append(f"{name} is {_say(has)}, not {_say(value)}")
    if _drawn(data):
        has, want = (_split_seed(plain) for plain in (resolved, plain))
        if has != want:
            found.append(f"its split was drawn with seed {has}, not {want}")
    told = folder.read_json(folder.data, "know its images")
    if tuple(told["classes"]) != data.images.classes:
        found.append("its classes are others")
    elif told["fingerprint"] != data.fingerprint():
        found.append("its images are others")
    return found


def _drawn(data: Prepared) -> bool:
    """Whether any part was drawn by a seed rather than given by the source."""
    given = data.images.splits
    if given is None:
        return True
    return not (given == "valid").any() or (len(data.split.test) > 0 and not (given == "test").any())


def _split_seed(settings: dict[str, Any]) -> int:
    own = settings.get("split_seed")
    return int(settings.get("seed", 0) if own is None else own)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _say(value: Any) -> str:
    return "open" if value is None else str(value)
