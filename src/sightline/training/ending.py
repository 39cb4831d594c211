"""Ctrl-C and the clock -> why a training must end now, as a phrase that the loop reads after each step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from sightline.errors import SettingsError
from sightline.progress import span


class Ending:
    """Listens to Ctrl-C (SIGINT) inside a ``with`` block of the main thread, and looks at the clock.

    The first press asks the loop to end, the second raises ``KeyboardInterrupt`` where the program is. In other
    threads, and where SIGINT is ignored (``nohup``), it hears nothing.

    Args:
        time_limit_s: seconds a training may take, over all its resumptions; None for ever.

    Attributes:
        requested: whether Ctrl-C was pressed since the block began.

    Raises:
        SettingsError: the limit is not above 0.
    """

    def __init__(self, time_limit_s: float | None = None) -> None:
        if time_limit_s is not None and not time_limit_s > 0:
            raise SettingsError(f"'time_limit_s' is {time_limit_s}.", "Use seconds above 0, or None.")
        self.time_limit_s = time_limit_s
        self.requested = False
        self._elapsed = 0.0
        self._began = time.monotonic()
        self._before: Any = None
        self._listening = False

    def __enter__(self) -> Ending:
        self.requested = False
        self._began = time.monotonic()
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._pressed)
            self._listening = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening:
            signal.signal(signal.SIGINT, self._before if self._before is not None else signal.default_int_handler)
            self._listening = False

    def why(self) -> str:
        """Say why the training must end, or give an empty string."""
        if self.requested:
            return "interrupted by Ctrl-C"
        if self.time_limit_s is not None and self.seconds() > self.time_limit_s:
            return f"the time limit of {span(self.time_limit_s)} was reached"
        return ""

    def seconds(self) -> float:
        """Give the seconds since the block began, and those before the training was resumed."""
        return self._elapsed + time.monotonic() - self._began

    def restart(self) -> None:
        """Begin a new training: forget the seconds before."""
        self._elapsed = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Give the seconds so far."""
        return {"seconds": self.seconds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        self._elapsed = float(state["seconds"])

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
