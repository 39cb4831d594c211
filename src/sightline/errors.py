"""What went wrong -> one message that names the thing, the fault and the next step.

The tree; catch ``SightlineError`` for all of it::

    SightlineError
    ├── SourceError      the images, labels or splits cannot be used as they are
    ├── SettingsError    a setting is unknown, out of range, or does not fit another
    ├── ModelError       a network cannot be built, or its weights do not fit
    ├── TrainingError    training cannot go on (a NaN, no memory)
    ├── RunError         a run folder is missing, incomplete, newer than this version, or full
    └── MissingExtraError     an optional package is not installed

The command line prints the message without a traceback and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightlineError(Exception):
    """A fault in what the user gave, told in one message.

    Args:
        fault: names the thing and what is wrong with it: "folder 'x' has one class ('cat')".
        hint: what to do about it, as a full sentence. Never empty.
    """

    def __init__(self, fault: str, hint: str) -> None:
        super().__init__(fault, hint)
        self.fault = fault
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.fault}\n{self.hint}"


class SourceError(SightlineError, ValueError):
    """The images, labels or splits cannot be used as they are."""


class SettingsError(SightlineError, ValueError):
    """A setting is unknown, out of range, or does not fit another."""


class ModelError(SightlineError, ValueError):
    """A network cannot be built for this input, or weights do not fit it."""


class TrainingError(SightlineError, RuntimeError):
    """Training cannot go on."""


class RunError(SightlineError, RuntimeError):
    """A run folder is missing, incomplete, from a newer version, or cannot be written."""


class MissingExtraError(SightlineError, ImportError):
    """An optional package is not installed.

    Args:
        package: the import name that is missing, such as ``"mlflow"``.
        extra: the extra of this project that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package '{package}', which is not installed.",
            f"Install it with: pip install 'sightline[{extra}]'",
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant: ``" Did you mean 'resnet18'?"``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
