"""A run folder and the settings wanted -> whether it is the run that is wanted, or in what it differs."""

from __future__ import annotations

from typing import Any

from sightline.making.prepared import Prepared, read_settings
from sightline.run import RunFolder
from sightline.settings import Settings

HOW = {
    *("runs", "name", "trackers", "checkpoint_minutes"),  # where things go
    *("data_dir", "download", "strict"),  # which images: the fingerprint says
    *("device", "compile", "keep_memory"),  # how it is computed
    *("instruments", "probes"),  # what is looked at meanwhile
    *("minutes", "split_seed"),  # looked at apart
}
"""Settings on which results do not depend, or not by themselves."""


def differences(folder: RunFolder, given: Settings, resolved: Settings, data: Prepared) -> list[str]:
    """Say in what a run differs from the one that is wanted, in what its results depend on.

    Settings are compared as resolved, so that it does not matter what was said and what was left open. A setting that
    did not exist when the run was made had what is now its default.

    Args:
        folder: the run.
        given: settings wanted, with the seed; what is open is not decided.
        resolved: the same with all decided.
        data: what it would be trained on.

    Returns:
        Phrases such as ``lr is 0.05, not 0.1``; none if it is the wanted run.
    """
    has, want = read_settings(folder).model_dump(mode="json"), resolved.model_dump(mode="json")
    want["seed"] = given.seed
    if given.precision == "auto":
        want["precision"] = has["precision"]  # as this machine has it, or that on which the run was made
    found = [
        f"{name} is {_say(has[name])}, not {_say(want[name])}"
        for name in want
        if name not in HOW and has[name] != want[name]
    ]
    if _drawn(data):
        drawn, wanted = (s.seed if s.split_seed is None else s.split_seed for s in (read_settings(folder), given))
        if drawn != wanted:
            found.append(f"its split was drawn with seed {drawn}, not {wanted}")
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


def _say(value: Any) -> str:
    return "open" if value is None else str(value)
