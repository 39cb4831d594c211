"""Every knob once: name, unit, range, default, help. Flags, TOML keys and Python keywords are read from here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sightline.errors import SettingsError, did_you_mean

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Resize = Literal["pad", "crop", "squash"]
Normalise = Literal["none", "pixel", "channel", "zca"]
Schedule = Literal["onecycle", "cosine", "cyclic", "triangular", "step", "constant", "plateau"]
Monitor = Literal["valid_loss", "valid_accuracy", "valid_balanced_loss", "valid_balanced_accuracy"]
AUTO = "auto"
"""The name of a network that is to be chosen."""

Unit = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Frozen; an unknown name is an error that suggests the right one; every fault is told in words."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    def __init__(self, **values: Any) -> None:
        for name in values:
            self._known(name)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise told(error) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._known(name)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            if any(fault["type"] == "frozen_instance" for fault in error.errors()):
                raise SettingsError(
                    f"'{name}' cannot be assigned: these settings never change.",
                    f"Make new ones: settings.model_copy(update={{'{name}': ...}}).",
                ) from None
            raise told(error) from None

    @classmethod
    def _known(cls, name: str) -> None:
        if name not in cls.model_fields:
            raise SettingsError(
                f"unknown setting '{name}'.{did_you_mean(name, cls.model_fields)}",
                f"The settings of {cls.__name__} are: {', '.join(sorted(cls.model_fields))}.",
            )


def told(error: ValidationError) -> SettingsError:
    """Turn pydantic's list of faults into one message: the setting, its value, and what it must be."""
    faults = []
    for fault in error.errors():
        whole = fault.get("ctx", {}).get("error")
        if isinstance(whole, SettingsError):  # settings that do not fit each other tell it themselves
            return whole
        name = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("function-", "constrained")))
        if fault["type"] == "missing":
            faults.append(f"'{name}' is missing")
        else:
            wanted = re.sub(r"^(Input|Value error,?) ?", "", fault["msg"]).replace("valid tuple", "list")
            faults.append(f"'{name}' {wanted} (got {fault['input']!r})")
    return SettingsError("; ".join(dict.fromkeys(faults)) + ".", "Change that setting and run again.")


class Settings(Strict):
    """The settings of ``sightline train``. ``None`` means: chosen from the data, and the choice is printed."""

    # data
    image_size: int | tuple[int, int] | None = Field(None, description="Side in pixels, or height and width.")
    resize: Resize = Field("pad", description="Bring images to that size by padding, cropping or squashing.")
    normalise: Normalise = Field("channel", description="What inputs are centred and scaled by.")
    corrections: Path | None = Field(None, description="CSV of labels to drop or change, as sightline audit writes it.")
    valid_fraction: Annotated[float, Field(gt=0, lt=0.9)] = Field(0.1, description="Share kept for validation.")
    test_fraction: Annotated[float, Field(ge=0, lt=0.9)] = Field(0.1, description="Share kept for the final test.")
    strict: bool = Field(False, description="Refuse to train while any file cannot be read.")
    data_dir: Path | None = Field(None, description="Folder with the files of a known data set.")
    download: bool = Field(False, description="Allow known data sets and public weights to be downloaded.")
    balance: str | None = Field(
        None, description="Skewed classes: none, weights, sampler, oversample, smote, logits, auto; knobs may follow."
    )
    balance_valid: bool = Field(False, description="Repeat validation images, too: it then scores what does not exist.")
    # network
    model: str = Field(
        "resnet18",
        description="Name of the network; `sightline models` lists them; auto: what suits the time.",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The network's own options, key=value.")
    dropout: Unit | None = Field(
        None, description="Share of features switched off before the last layer; else the network's own; 0: none."
    )
    # fine-tuning
    weights: str | None = Field(None, description="imagenet, a .safetensors or .pth file, or a run folder.")
    freeze: str = Field("none", description="What came with weights and stays: none, features or until:STAGE.")
    thaw_epoch: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Epoch from which frozen layers learn, too; else never."
    )
    old_lr: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Factor on the learning rate of layers that came with weights."
    )
    # training
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="Passes over the data.")
    minutes: Annotated[float, Field(gt=0)] | None = Field(None, description="Fit the training into this time.")
    train_steps: Annotated[int, Field(ge=1)] | None = Field(None, description="Steps per epoch; else all images.")
    batch_size: Annotated[int, Field(ge=1)] | None = Field(None, description="Images per step.")
    optimizer: str = Field("adamw", description="sgd (Nesterov), adam, adamw, muon, muonsgd, or any of torch.optim.")
    lr: Annotated[float, Field(gt=0, lt=100)] | None = Field(None, description="Peak learning rate.")
    momentum: Unit = Field(0.9, description="Momentum, for optimizers that have it.")
    weight_decay: Annotated[float, Field(ge=0, lt=10)] | None = Field(
        None, description="Weight decay; norms and biases are left out."
    )
    schedule: Schedule = Field("onecycle", description="How the learning rate moves over the steps.")
    cycles: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Cycles of schedule=cyclic; the weights at the end of each are kept."
    )
    warmup: Unit = Field(0.1, description="Share of the steps (of the first cycle) in which the learning rate rises.")
    bias_lr: Annotated[float, Field(gt=0, le=1000)] = Field(1.0, description="Factor on the learning rate of biases.")
    lookahead: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Steps ahead, before the weights go half the way back; 0: none."
    )
    lookahead_rises: bool = Field(False, description="The way back is short at first, and longest at the end.")
    progressive: Annotated[float, Field(ge=0.25, le=1)] = Field(
        1.0, description="Share of the image side that training begins at; it grows to 1."
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(None, description="Largest norm of all gradients.")
    accumulate: Annotated[int, Field(ge=1)] = Field(1, description="Batches whose gradients make one step.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Split, weights, order, augmentation.")
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(None, description="Of the split alone; else seed.")
    # regularisation
    penalty: str = Field("none", description="Added to the loss: l1, l2, elastic, group, orthogonal; l1=1e-5,l2=1e-4.")
    penalty_on: str = Field("weights", description="Parameters it is on: weights, all, or a pattern of names.")
    decoupled: bool = Field(False, description="Weight decay apart from the gradient, whatever the optimizer.")
    max_norm: Annotated[float, Field(gt=0)] | None = Field(None, description="Largest norm of what each unit takes in.")
    label_smoothing: Unit = Field(0.0, description="Share of the target spread over all classes.")
    trim: Unit = Field(0.0, description="Share of each batch, the hardest, that gets no gradient.")
    trim_from: Unit = Field(0.2, description="Share of the training before that.")
    ema: Unit = Field(0.0, description="Decay of the moving average of the weights; 0 switches it off.")
    swa: Unit = Field(0.0, description="Last share of the training whose weights are averaged equally; 0: none.")
    augment: str = Field("auto", description="none, light, strong or auto.")
    early_stop: Literal["patience", "rise"] = Field(
        "patience", description="Stop early after so many epochs (patience), or when validation loss rises (rise)."
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        0, description="Epochs without improvement before it stops; 0: never."
    )
    delta: Annotated[float, Field(ge=0)] = Field(0.0, description="The fall of the loss that counts as improvement.")
    monitor: Monitor | None = Field(None, description="What decides which epoch is the best.")
    instruments: Literal["none", "some", "all"] = Field(
        "some", description="Look into the layers while training, for 1 % of its time (some) or 5 % (all)."
    )
    probes: bool = Field(True, description="Try network, data and learning rate for some seconds, at the beginning.")
    # machine
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Precision = Field("auto", description="auto takes bf16 where the hardware has it, else fp32.")
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile; auto: only if it pays back.")
    keep_memory: bool = Field(True, description="Keep freed memory for the next step (glibc; faster).")
    # run
    runs: Path = Field(Path("runs"), description="Folder in which run folders are made.")
    name: str | None = Field(None, description="Name of the run folder; else a time stamp.")
    trackers: tuple[str, ...] = Field((), description="Where the numbers go too: tensorboard,mlflow,...")
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(5.0, description="Longest time between checkpoints.")

    @field_validator("image_size", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        """Take ``"96"``, ``"64x128"``, 96 or (64, 128); each side 1..8192 pixels."""
        if isinstance(value, str):
            sides = [int(part) for part in re.findall(r"\d+", value)] if re.fullmatch(r"\d+([x,]\d+)?", value) else []
            value = sides[0] if len(sides) == 1 else tuple(sides)
        sides = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
        whole = all(type(side) is int and 1 <= side <= 8192 for side in sides)
        if value is not None and (len(sides) not in (1, 2) or not whole):
            raise ValueError("should be a side such as 96, or height x width such as 64x128, each 1 to 8192")
        return value

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Settings:
        shares = self.valid_fraction + self.test_fraction
        if shares >= 1:
            raise SettingsError(
                f"'valid_fraction' {self.valid_fraction:g} and 'test_fraction' {self.test_fraction:g} leave nothing to "
                "train on.",
                "Use shares whose sum is below 1, such as 0.1 and 0.1.",
            )
        return self

    @field_validator("weights", mode="before")
    @classmethod
    def _place(cls, value: Any) -> Any:
        """Take a path as well as text."""
        return str(value) if isinstance(value, Path) else value

    @field_validator("freeze")
    @classmethod
    def _freeze(cls, value: str) -> str:
        if not re.fullmatch(r"none|features|until:\w+", value):
            raise ValueError("should be none, features, or until: and a stage, such as until:layer2")
        return value

    @model_validator(mode="after")
    def _something_to_fine_tune(self) -> Settings:
        named = {"freeze": self.freeze != "none", "thaw_epoch": self.thaw_epoch, "old_lr": self.old_lr}
        told = [name for name, value in named.items() if value]
        if told and self.weights is None:
            raise SettingsError(
                f"'{told[0]}' is set, but no weights are given that it could be about.",
                "Give weights, such as --weights imagenet, or leave it out.",
            )
        if self.thaw_epoch and self.freeze == "none":
            raise SettingsError(
                f"'thaw_epoch' is {self.thaw_epoch}, but nothing is frozen.", "Set freeze, such as --freeze features."
            )
        return self

    @model_validator(mode="after")
    def _a_network_to_choose(self) -> Settings:
        told = [name for name in ("weights", "options") if getattr(self, name)]
        if self.model == AUTO and told:
            raise SettingsError(
                f"'model' is auto, but '{told[0]}' is set, which belongs to one network.",
                f"Name the network, or leave {told[0]} out.",
            )
        return self

    @model_validator(mode="after")
    def _that_go_together(self) -> Settings:
        if self.cycles is not None and self.schedule != "cyclic":
            raise SettingsError(
                f"'cycles' is {self.cycles}, but 'schedule' is {self.schedule}, which has one.",
                "Use schedule=cyclic with it, or leave cycles out.",
            )
        if self.lookahead_rises and not self.lookahead:
            raise SettingsError(
                "'lookahead_rises' is set, but 'lookahead' is 0: nothing looks ahead.", "Set --lookahead 5 with it."
            )
        if self.early_stop == "rise" and self.patience:
            raise SettingsError(
                f"'early_stop' is rise and 'patience' {self.patience}: two ways to stop early.",
                "Leave patience out; how long to wait follows from the interval of the rise.",
            )
        if self.early_stop == "rise" and self.monitor not in (None, "valid_loss"):
            raise SettingsError(
                f"'early_stop' is rise, which looks at valid_loss, but 'monitor' is {self.monitor}.",
                "Use early_stop=patience with it, such as --patience 5.",
            )
        if self.ema and self.swa:
            raise SettingsError(
                f"'ema' {self.ema:g} and 'swa' {self.swa:g} are two averages of the same weights.", "Use one of them."
            )
        return self

    @field_validator("trackers", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Take ``"tensorboard,mlflow"`` as well as a list."""
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[\w][\w.+-]*", value):
            raise ValueError("should be letters, digits, '.', '_', '+' or '-', and start with a letter or digit")
        return value

    def changed(self) -> dict[str, Any]:
        """Give the settings that differ from their defaults."""
        return {
            k: v
            for k, v in self.model_dump().items()
            if v != type(self).model_fields[k].get_default(call_default_factory=True)
        }

    def as_toml(self) -> dict[str, Any]:
        """Give what TOML can hold: plain values, without the settings that are None."""
        return {k: v for k, v in self.model_dump(mode="json").items() if v is not None}

    @classmethod
    def from_toml(cls, path: Path, *, table: str | None = None) -> Settings:
        """Read settings from a TOML file, or from one table of it (a run's own file has ``[settings]``).

        Raises:
            SettingsError: the file is missing, is no TOML, or holds an unknown or impossible setting.
        """
        values = read_toml(path)
        if table is None and isinstance(values.get("settings"), dict):  # a run's own file
            others = sorted(values.keys() - {"settings", "given"})
            if others:
                raise SettingsError(
                    f"settings file '{path}' has [settings] and, outside of it, {', '.join(others)}.",
                    "Put all settings into [settings], or none.",
                )
            table = "settings"
        return cls(**(values if table is None else _of_any_version(values.get(table, {}))))


def _of_any_version(stored: dict[str, Any]) -> dict[str, Any]:
    """Read a run's settings as the version that wrote them meant them.

    Before there were penalties, a dropout of 0 stood for the network's own.
    """
    own = "penalty" not in stored and stored.get("dropout") == 0
    return {name: value for name, value in stored.items() if not (own and name == "dropout")}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, with faults told in words."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file '{path}' cannot be read: {error}.", "Check the path.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file '{path}' is no valid TOML: {error}.", "Mend that line.") from None


class ReportTypes(Enum):
    """Where ``Trainer`` reports to; several at once are fine."""

    GIN = "GIN"
    TOML = "TOML"
    TENSORBOARD = "TENSORBOARD"
    MLFLOW = "MLFLOW"
    RAY = "RAY"


class TrainerSettings(Strict):
    """The lecture's settings of a ``Trainer``, as the library ``mltrainer`` spells them.

    Better on purpose: ``train_steps`` and ``valid_steps`` may be None (all batches); an unknown name is an error;
    nothing is created while validating. Fields may be assigned, and are checked when they are.
    """

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    epochs: Annotated[int, Field(ge=1)]
    metrics: list[Callable[..., Any]]
    logdir: Path
    train_steps: Annotated[int, Field(ge=1)] | None = None
    valid_steps: Annotated[int, Field(ge=1)] | None = None
    reporttypes: list[ReportTypes] = Field(default_factory=list)
    optimizer_kwargs: dict[str, Any] = Field(default_factory=lambda: {"lr": 1e-3, "weight_decay": 1e-5})
    scheduler_kwargs: dict[str, Any] | None = Field(default_factory=lambda: {"factor": 0.1, "patience": 10})
    earlystop_kwargs: dict[str, Any] | None = Field(
        default_factory=lambda: {"save": False, "verbose": True, "patience": 10}
    )

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self)
