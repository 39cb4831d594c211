"""A TOML file, or the name of a bundled one -> a Recipe: shared settings, members, their vote; every fault named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from sightline.data.balance import Balance
from sightline.errors import SettingsError, SightlineError, did_you_mean
from sightline.models import zoo
from sightline.settings import Settings, read_toml
from sightline.voting import votes
from sightline.voting.views import names as view_names

TOP = ("description", "vote", "weights", "views", "settings", "members")
"""What a recipe may hold. ``[settings]`` are for all members, each of ``[[members]]`` has settings of its own."""

SHARED = (
    "valid_fraction", "test_fraction", "split_seed", "corrections", "strict", "data_dir", "download", "runs", "device",
)  # fmt: skip
"""Settings that are the same for all members: which images, where to; members share one split."""


@dataclass(frozen=True)
class Wanted:
    """One member of a recipe.

    Attributes:
        name: of its run folder.
        values: its own settings.
    """

    name: str
    values: dict[str, Any]


LENGTHS = {"minutes": "epochs", "epochs": "minutes"}
"""The two settings that say how long to train: a flag for one replaces what the recipe says of the other."""


@dataclass(frozen=True)
class Recipe:
    """What to train, and how to vote.

    Attributes:
        name: of the file, without its ending.
        description: one line.
        shared: settings of all members, or of the single run where there are no members.
        members: of the ensemble; none for a single run.
        vote: a name of ``votes.VOTES``.
        weights: of a weighted vote: one for each member, or ``"auto"``.
        views: kinds of views.
    """

    name: str
    description: str = ""
    shared: dict[str, Any] = field(default_factory=dict)
    members: tuple[Wanted, ...] = ()
    vote: str = "soft"
    weights: list[float] | str | None = None
    views: tuple[str, ...] = ()

    def with_flags(self, flags: dict[str, Any]) -> Recipe:
        """Let flags win over what the recipe says, for every member.

        Options of networks are added to those of the recipe, or take their place if the network is another one. A seed
        is that of the first member; the others count up. Minutes replace the recipe's epochs, and epochs its minutes.
        """
        if not flags:
            return self
        own = {name: value for name, value in flags.items() if name != "options"}
        added = flags.get("options", {})
        gone = {*own, *(LENGTHS[name] for name in own if name in LENGTHS)}

        def options(values: dict[str, Any]) -> dict[str, Any]:
            another = "model" in own and values.get("model", own["model"]) != own["model"]
            found = {**({} if another else values.get("options", {})), **added}
            return {"options": found} if found else {}

        def changed(values: dict[str, Any]) -> dict[str, Any]:
            kept = {name: value for name, value in values.items() if name not in (*gone, "options")}
            return {**kept, **(options(values) if "options" in values else {})}

        kept = {name: value for name, value in self.shared.items() if name not in (*gone, "options")}
        shared = {**kept, **own, **options(self.shared)}
        members = tuple(Wanted(member.name, changed(member.values)) for member in self.members)
        return self._replaced(shared, members)

    def _replaced(self, shared: dict[str, Any], members: tuple[Wanted, ...]) -> Recipe:
        return Recipe(self.name, self.description, shared, members, self.vote, self.weights, self.views)

    def settings(self) -> Settings:
        """Give the shared settings, checked.

        Raises:
            SettingsError: one of them is unknown or impossible.
        """
        return _checked(self.shared, f"recipe '{self.name}'")

    def runs(self, folder: Path) -> dict[str, Settings]:
        """Give the settings of each member's run, by its name.

        Args:
            folder: of the run folders.

        Raises:
            SettingsError, ModelError: a setting is unknown or impossible, or one of those that members must share; the
                message names the member.
        """
        base = self.settings()
        found: dict[str, Settings] = {}
        for number, member in enumerate(self.members):
            where = f"recipe '{self.name}', member '{member.name}'"
            own = next((name for name in member.values if name in SHARED), None)
            if own is not None:
                raise SettingsError(
                    f"{where} has a '{own}' of its own.", "All members share it: put it into [settings], or leave it."
                )
            options = {**self.shared.get("options", {}), **member.values.get("options", {})}
            minutes = {"minutes": base.minutes / len(self.members)} if base.minutes else {}
            values = {
                **self.shared,
                "seed": base.seed + number,
                **minutes,
                **member.values,
                **({"options": options} if options else {}),
                "split_seed": base.seed if base.split_seed is None else base.split_seed,
                "runs": folder,
                "name": member.name,
            }
            found[member.name] = _checked(values, where)
        return found

    def as_toml(self) -> dict[str, Any]:
        """Give what a recipe file of the same meaning holds."""
        told = {"description": self.description, "vote": self.vote, "weights": self.weights, "views": list(self.views)}
        return {
            **{name: value for name, value in told.items() if value},
            "settings": _plain(self.shared),
            "members": [{"name": member.name, **_plain(member.values)} for member in self.members],
        }


def bundled() -> dict[str, Path]:
    """List the recipes that come with Sightline: name -> file."""
    folder = resources("sightline.recipes")
    return {
        Path(str(file)).stem: Path(str(file))
        for file in sorted(folder.iterdir(), key=str)
        if str(file).endswith(".toml")
    }


def read(given: Path | str) -> Recipe:
    """Read a recipe.

    Args:
        given: a TOML file, or the name of a bundled recipe.

    Raises:
        SettingsError: there is no such recipe, or it holds an unknown key, a vote, a view or members that cannot be.
    """
    path = Path(given)
    known = bundled()
    if not path.is_file():
        if str(given) not in known:
            raise SettingsError(
                f"recipe '{given}' is neither a file nor a bundled recipe.{did_you_mean(str(given), known)}",
                f"Give a TOML file, or one of: {', '.join(known)}.",
            )
        path = known[str(given)]
    return _read(read_toml(path), path.stem)


def _read(told: dict[str, Any], name: str) -> Recipe:
    where = f"recipe '{name}'"
    _known(told, TOP, where, "Settings belong into [settings], those of one member into its [[members]].")
    shared = told.get("settings", {})
    listed = told.get("members", [])
    if not isinstance(shared, dict) or not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed):
        raise SettingsError(
            f"{where} has no table [settings], or its members are no tables [[members]].",
            "Write [settings] once, and [[members]] for each member.",
        )
    try:
        vote = votes.check(told.get("vote", "soft"))
        views = view_names(told.get("views", ()))
    except SightlineError as error:
        raise SettingsError(f"{where}: {error.fault}", error.hint) from None
    if len(listed) == 1:
        raise SettingsError(
            f"{where} has one member, which has nothing to vote on.",
            "Add [[members]], or make it a recipe for a single run: with [settings] alone.",
        )
    weights = told.get("weights")
    if weights is not None and vote != "weighted":
        raise SettingsError(f"{where} has weights, but its vote is {vote}.", 'Write vote = "weighted".')
    if isinstance(weights, list):
        votes.shares(weights, len(listed))
    members = _named(listed, where)
    recipe = Recipe(name, str(told.get("description", "")), shared, members, vote, weights, views)
    recipe.settings()
    recipe.runs(Path("runs"))
    return recipe


def _named(listed: Sequence[dict[str, Any]], where: str) -> tuple[Wanted, ...]:
    """Give every member a name of its own: the one it has, or its network and balance."""
    members: list[Wanted] = []
    for number, table in enumerate(listed, 1):
        values = {key: value for key, value in table.items() if key != "name"}
        given = table.get("name")
        taken = {member.name for member in members}
        stem = "-".join(str(values[key]) for key in ("model", "balance") if key in values) or f"member{number}"
        stem = re.sub(r"[^\w.+-]+", "-", stem)
        name = stem if given is None else str(given)
        if given is None and name in taken:
            name = next(f"{stem}-{n}" for n in range(2, len(listed) + 2) if f"{stem}-{n}" not in taken)
        if name in taken:
            raise SettingsError(f"{where} has two members '{name}'.", "Give each a name of its own.")
        members.append(Wanted(name, values))
    return tuple(members)


def _known(values: dict[str, Any], known: Sequence[str], where: str, hint: str) -> None:
    for name in values:
        if name not in known:
            raise SettingsError(f"{where} has an unknown key '{name}'.{did_you_mean(name, known)}", hint)


def _checked(values: dict[str, Any], where: str) -> Settings:
    """Check settings, and the names in them, and say where a fault is."""
    try:
        settings = Settings(**values)
        zoo.entry(settings.model)
        Balance.parse(settings.balance)
    except SightlineError as error:
        raise type(error)(f"{where}: {error.fault}", error.hint) from None
    return settings


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
