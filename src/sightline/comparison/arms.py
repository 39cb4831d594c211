"""Networks or factors around a base -> arms: the ways of training to compare, each a name and its settings."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sightline.errors import SettingsError, did_you_mean
from sightline.models import zoo
from sightline.settings import Settings

Kind = Literal["networks", "one at a time", "grid"]

Pairs = Literal["all", "first"] | Sequence[tuple[str, str]]
"""Which arms are compared: each with each, each with the reference, or those that are listed (ours, theirs)."""

OPTION = "option."
"""Begins the name of a factor that is an option of the network: ``option.width``."""

APART = {
    "seed": "the seed is what differs within an arm: say how many with --seeds",
    "split_seed": "the arms would be scored on different images",
    "valid_fraction": "the arms would be scored on different images",
    "test_fraction": "the arms would be scored on different images",
    "strict": "it decides which images there are",
    "minutes": "the time is the budget of the whole comparison; vary epochs",
    "monitor": "it decides what the best epoch is, not how the training goes",
    **dict.fromkeys(("data_dir", "download", "runs", "name", "trackers"), "it says where things are"),
    **dict.fromkeys(("keep_memory", "checkpoint_minutes", "instruments", "probes"), "results do not depend on it"),
}
"""Settings that no factor can be, and why."""


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        label: what people call it: ``resnet20``, ``weight_decay=0.01``, ``base``.
        settings: as the user would have given them to ``train``; seed and place come later.
        levels: factor -> its value in this arm.
    """

    label: str
    settings: Settings
    levels: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The label as part of a folder's name."""
        return re.sub(r"[^\w.+-]+", "_", self.label.replace("=", "-")).strip("_.-+")


@dataclass(frozen=True)
class Design:
    """The arms of an experiment and which of them are compared.

    Attributes:
        kind: how the arms came about.
        arms: at least two, with different labels.
        factors: name -> values, where there are any.
        reference: label of the arm that the others are seen beside: the base, or the first.
        pairs: labels (ours, theirs) of the arms that are compared.
    """

    kind: Kind
    arms: tuple[Arm, ...]
    factors: dict[str, list[Any]]
    reference: str
    pairs: tuple[tuple[str, str], ...]


def networks(base: Settings, names: Sequence[str], *, pairs: Pairs) -> Design:
    """Make an arm of each network.

    Args:
        base: all other settings.
        names: at least two, of the zoo.
        pairs: which are compared.

    Raises:
        SettingsError: a name comes twice, or there is only one.
        ModelError: there is no such network.
    """
    for name in names:
        zoo.entry(name)
    if len(names) < 2:
        raise SettingsError(
            f"there is nothing to compare {' '.join(names) or 'with'} to.",
            "Name two networks or more, or vary a setting: --vary dropout=0,0.3.",
        )
    arms = tuple(Arm(name, base.model_copy(update={"model": name}), {"model": name}) for name in names)
    return _design("networks", arms, {}, arms[0].label, pairs)


def parse(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``name=value,value`` texts; values with commas of their own are parted by semicolons.

    Raises:
        SettingsError: a text is not of that form, or a factor is named twice.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not values.strip():
            raise SettingsError(f"--vary {text} is not NAME=VALUE,VALUE.", "Write it like --vary weight_decay=0,1e-4.")
        if name in found:
            raise SettingsError(f"--vary {name} is given twice.", "Write all its values in one: --vary NAME=A,B,C.")
        parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
        found[name] = [_option_value(part) if name.startswith(OPTION) else part for part in parts]
    return found


def factors(base: Settings, vary: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Check factors and bring their values to the type of their setting.

    Raises:
        SettingsError: a factor is no setting or cannot be one here, has one value, one value twice, or a value that
            its setting cannot have.
    """
    checked: dict[str, list[Any]] = {}
    for name, values in vary.items():
        if name in APART:
            raise SettingsError(f"'{name}' cannot be varied: {APART[name]}.", "Vary another setting.")
        if not name.startswith(OPTION) and (name not in Settings.model_fields or name == "options"):
            known = [known for known in Settings.model_fields if known not in {*APART, "options"}]
            raise SettingsError(
                f"there is no setting '{name}' to vary.{did_you_mean(name, known)}",
                f"An option of the network is {OPTION}NAME; the settings are: {', '.join(known)}.",
            )
        if isinstance(values, str) or len(values) < 2:
            raise SettingsError(
                f"factor '{name}' has one value, {short(values if isinstance(values, str) else values[0])}."
                if values
                else f"factor '{name}' has no value.",
                f"Give it two or more: --vary {name}=A,B.",
            )
        typed = [level(changed(base, {name: value}), name) for value in values]
        for number, value in enumerate(typed):
            if value in typed[:number]:
                raise SettingsError(
                    f"factor '{name}' has the value {short(value)} twice.", "Give each value once; see also --seeds."
                )
        checked[name] = typed
    return checked


def around(base: Settings, vary: Mapping[str, list[Any]], levels: Mapping[str, Any], *, pairs: Pairs) -> Design:
    """Vary one factor at a time around the base; a value that the base has already makes no arm of its own.

    Args:
        base: as given.
        vary: from ``factors``.
        levels: the base's own values, from ``base_levels``.
        pairs: which are compared.
    """
    arms = [Arm("base", base, dict(levels))]
    for name, values in vary.items():
        arms += [
            Arm(f"{name.removeprefix(OPTION)}={short(value)}", changed(base, {name: value}), {**levels, name: value})
            for value in values
            if value != levels[name]
        ]
    return _design("one at a time", tuple(arms), dict(vary), "base", pairs)


def grid(base: Settings, vary: Mapping[str, list[Any]], levels: Mapping[str, Any], *, pairs: Pairs) -> Design:
    """Make an arm of every combination of values; they are compared with the base's, or with the first.

    Args:
        base: as given.
        vary: from ``factors``.
        levels: the base's own values, from ``base_levels``.
        pairs: which are compared.
    """
    arms = []
    for values in itertools.product(*vary.values()):
        own = dict(zip(vary, values, strict=True))
        label = ", ".join(f"{name.removeprefix(OPTION)}={short(value)}" for name, value in own.items())
        arms.append(Arm(label, changed(base, own), own))
    reference = next((arm.label for arm in arms if arm.levels == levels), arms[0].label)
    return _design("grid", tuple(arms), dict(vary), reference, pairs)


def base_levels(
    base: Settings, vary: Mapping[str, list[Any]], resolved: Settings, same: Callable[[Settings, Settings], bool]
) -> dict[str, Any]:
    """Say which value of each factor the base has, also where it is left to the network, or to ``auto``.

    Args:
        base: as given.
        vary: from ``factors``.
        resolved: the base with what was left open decided.
        same: whether two settings make the same training.
    """
    levels = {name: level(resolved, name) for name in vary}
    for name, values in vary.items():
        left = levels[name] is None and (name == "dropout" or name.startswith(OPTION))
        if (left or (name == "augment" and levels[name] == "auto")) and levels[name] not in values:
            levels[name] = next((value for value in values if same(changed(base, {name: value}), base)), levels[name])
    return levels


def level(settings: Settings, name: str) -> Any:
    """Give the value that a factor has in settings; None where an option of the network is left to it."""
    if name.startswith(OPTION):
        return settings.options.get(name.removeprefix(OPTION))
    value = getattr(settings, name)
    return str(value) if isinstance(value, Path) else value


def changed(base: Settings, levels: Mapping[str, Any]) -> Settings:
    """Change some factors of the base; every value is checked as any setting is.

    Raises:
        SettingsError: a setting cannot have that value.
        ModelError: there is no such network.
    """
    values = {name: getattr(base, name) for name in Settings.model_fields}
    for name, value in levels.items():
        if name.startswith(OPTION):
            values["options"] = {**values["options"], name.removeprefix(OPTION): value}
        else:
            values[name] = value
    changed = Settings(**values)
    zoo.entry(changed.model)
    return changed


def _design(kind: Kind, arms: tuple[Arm, ...], vary: dict[str, list[Any]], reference: str, pairs: Pairs) -> Design:
    seen: dict[str, str] = {}
    for arm in arms:
        if arm.slug.lower() in seen:
            raise SettingsError(
                f"two arms would be called '{arm.label}'.", "Name each network once, and give each value once."
            )
        seen[arm.slug.lower()] = arm.label
    labels = [arm.label for arm in arms]
    if pairs == "all":
        return Design(kind, arms, vary, reference, tuple((b, a) for a, b in itertools.combinations(labels, 2)))
    if pairs == "first":
        return Design(kind, arms, vary, reference, tuple((label, reference) for label in labels if label != reference))
    chosen = [tuple(pair) for pair in pairs if not isinstance(pair, str)]
    for pair in chosen or [()]:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise SettingsError(f"{pair} is no pair of arms to compare.", "Write all, first, or ARM:ARM,ARM:ARM.")
        for label in pair:
            if label not in labels:
                raise SettingsError(
                    f"there is no arm '{label}' to compare.{did_you_mean(label, labels)}",
                    f"The arms are: {'; '.join(labels)}.",
                )
    return Design(kind, arms, vary, reference, tuple(dict.fromkeys((ours, theirs) for ours, theirs in chosen)))


def parse_pairs(text: str) -> Pairs:
    """Read ``all``, ``first`` or ``ours:theirs,ours:theirs``; where labels have commas, semicolons part the pairs."""
    if text in ("all", "first"):
        return text  # type: ignore[return-value]
    parts = text.split(";" if ";" in text else ",")
    return [tuple(side.strip() for side in part.split(":")) for part in parts]  # type: ignore[misc]


def _option_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def short(value: Any) -> str:
    """Write a value as labels do: ``0.1``, ``true``, ``64x128``."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
