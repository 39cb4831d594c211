"""Work in hand -> a live bar on a terminal, one changing text in a notebook, a few plain lines elsewhere; on stderr.

Results go to stdout, which this file never touches. Nothing here can end a training: a stream that is missing, closed
or broken is silently left alone. No thread is started (a refreshing thread and forked workers can lock each other up):
the picture is drawn by whoever reports an advance, at most ten times a second. Rich is imported when a bar is shown.
"""

from __future__ import annotations

import os
import sys
import threading
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, TextIO

LIVE_SECONDS = 0.1
"""Shortest time between two drawings of a live bar."""

LONG_SECONDS = 2.0
"""A task shorter than this leaves no plain lines."""

SILENCE_SECONDS = 30.0
"""Where lines are plain, a task speaks when nothing was said for this long."""


class Task:
    """One piece of work, made by ``Progress.task`` and used as a context manager. Every method is thread-safe."""

    def __init__(self, progress: Progress, name: str, total: float | None, done: float) -> None:
        self.name = name
        self.total = total
        self.done = done
        self.text = ""
        self.nested = False
        self.outcome: str | None = None
        self.began = monotonic()
        self._advanced = self.began
        self._before = done
        self._progress = progress

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more as done, in the unit of ``total``."""
        with self._progress._lock:
            self.done += amount
            self._advanced = monotonic()
            self._progress._draw()

    def describe(self, text: str) -> None:
        """Show a few words behind the bar, such as ``"loss 0.31"``; they replace the words before."""
        with self._progress._lock:
            self.text = text
            self._progress._draw()

    def state(self) -> str:
        """Say how far it is: ``"1,200 of 60,000, 38 s left, loss 0.31"``; afterwards ``"60,000 in 43 s"``."""
        now = monotonic()
        done = f"{self.done:,.0f}"
        if self.outcome is not None:
            parts = [f"{done if self._whole() else self._of()} {self.outcome}"]
        elif self.total is None:
            parts = [f"{done} in {span(now - self.began)}"]
        elif self._before < self.done < self.total:
            # Counted from the last advance: an epoch half done must not make the epochs look slower.
            each = (self._advanced - self.began) / (self.done - self._before)
            left = each * (self.total - self.done) - (now - self._advanced)
            parts = [self._of(), f"{span(max(left, 0.0))} left"]
        else:
            parts = [self._of()]
        return ", ".join([*parts, *([self.text] if self.text else [])])

    def __enter__(self) -> Task:
        with self._progress._lock:
            self.began = monotonic()
            self.nested = bool(self._progress._open)
            self._progress._open.append(self)
            self._progress._draw(at_once=not self.nested)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._progress._lock:
            how = "in" if kind is None else "done when it stopped, after"
            self.outcome = f"{how} {span(monotonic() - self.began)}"
            self._progress._close(self)

    def _whole(self) -> bool:
        return self.total is None or self.done == self.total

    def _of(self) -> str:
        return f"{self.done:,.0f} of {self.total:,.0f}"


class Progress:
    """Where every room tells how far it is.

    A task opened while another is open is nested: it is shown below the other and leaves no trace when it ends.

    Example::

        progress = Progress()
        with progress.task("Training", total=epochs) as training:
            for _ in range(epochs):
                with progress.task("Steps", total=len(stream)) as steps:
                    for x, y in stream:
                        steps.advance()
                training.advance()
                progress.note("epoch 1: validation loss 0.31")

    Args:
        quiet: say nothing at all.
        stream: where to; None takes ``sys.stderr`` as it is now.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._lock = threading.RLock()
        self._open: list[Task] = []
        self._next = 0.0
        self._view: _View = _Silent() if quiet else _view(_Safe(stream if stream is not None else sys.stderr), stream)

    @property
    def live(self) -> bool:
        """Whether bars move in place; else a line is a line and too many are a flood."""
        return isinstance(self._view, _Live | _Notebook)

    def task(self, name: str, total: float | None = None, done: float = 0) -> Task:
        """Open a task with ``with``.

        Args:
            name: what is done: ``"Decoding"``.
            total: how much there is, in any unit; None if nobody knows.
            done: how much was done before, by a training that is resumed, say; it does not count for the speed.
        """
        return Task(self, name, total, done)

    def note(self, line: str) -> None:
        """Print one plain line, above the bars where there are any."""
        with self._lock:
            self._view.note(line, self._open)

    def show(self, renderable: Any) -> None:
        """Print what rich can print, such as a table, above the bars where there are any; text goes to ``note``."""
        with self._lock:
            self._view.show(renderable)

    def _draw(self, at_once: bool = False) -> None:
        now = monotonic()
        if (now >= self._next or at_once) and self._open:
            self._view.draw(self._open)
            self._next = now + self._view.period

    def _close(self, task: Task) -> None:
        if task in self._open:
            self._open.remove(task)
            self._view.close(task, last=not self._open)


class Muted(Progress):
    """The bars of ``outer``, without notes and tables: for work of which only the outcome is worth a line."""

    def __init__(self, outer: Progress) -> None:
        self.__dict__.update(vars(outer))

    def note(self, line: str) -> None:
        """Say nothing."""

    def show(self, renderable: Any) -> None:
        """Show nothing."""


def span(seconds: float) -> str:
    """Say a duration as people do: ``"0.4 s"``, ``"43 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _View(Protocol):
    """One way to show tasks."""

    period: float

    def draw(self, tasks: list[Task]) -> None: ...

    def note(self, line: str, tasks: list[Task]) -> None: ...

    def show(self, renderable: Any) -> None: ...

    def close(self, task: Task, *, last: bool) -> None: ...


class _Silent:
    period = float("inf")

    def draw(self, tasks: list[Task]) -> None: ...

    def note(self, line: str, tasks: list[Task]) -> None: ...

    def show(self, renderable: Any) -> None: ...

    def close(self, task: Task, *, last: bool) -> None: ...


class _Plain:
    """Lines: the outermost task once it turns out to be long and when it ends, and a sign of life after silence."""

    period = 0.5

    def __init__(self, stream: _Safe) -> None:
        self._stream = stream
        self._spoke = monotonic()
        self._told: Task | None = None

    def draw(self, tasks: list[Task]) -> None:
        now, outer = monotonic(), tasks[0]
        first = self._told is not outer and now - max(outer.began, self._spoke) >= LONG_SECONDS
        if first or now - max(self._spoke, outer.began) >= SILENCE_SECONDS:
            self._told = outer
            self.note("; ".join(_line(task) for task in tasks), tasks)

    def note(self, line: str, tasks: list[Task]) -> None:
        self._spoke = monotonic()
        self._stream.write(line + "\n")
        self._stream.flush()

    def show(self, renderable: Any) -> None:
        self._spoke = monotonic()
        _console(self._stream, terminal=False).print(renderable)

    def close(self, task: Task, *, last: bool) -> None:
        if not task.nested and monotonic() - task.began >= LONG_SECONDS:
            self.note(_line(task), [])


class _Live:
    """Rich's bars. The outermost task's last state stays on the screen."""

    period = LIVE_SECONDS

    def __init__(self, stream: _Safe, redirect: bool) -> None:
        self._stream = stream
        self._redirect = redirect
        self._bars: Any = None
        self._rows: dict[Task, Any] = {}

    def draw(self, tasks: list[Task]) -> None:
        if self._bars is None:
            self._bars = self._new()
            self._bars.start()
        for task in tasks:
            self._update(task)
        self._bars.refresh()

    def note(self, line: str, tasks: list[Task]) -> None:
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(line + "\n")
            self._stream.flush()

    def show(self, renderable: Any) -> None:
        (_console(self._stream, terminal=True) if self._bars is None else self._bars.console).print(renderable)

    def close(self, task: Task, *, last: bool) -> None:
        if self._bars is None:
            return
        if not task.nested:
            self._update(task)
        elif task in self._rows:
            self._bars.remove_task(self._rows.pop(task))
        if last:
            self._bars.stop()
            self._bars = None
            self._rows.clear()

    def _update(self, task: Task) -> None:
        if task not in self._rows:
            self._rows[task] = self._bars.add_task(task.name, total=task.total, state="")
        total = task.total if task.outcome is None or task.total is not None else max(task.done, 1)
        self._bars.update(self._rows[task], completed=task.done, total=total, state=task.state())

    def _new(self) -> Any:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        console = _console(self._stream, terminal=True)
        return Bars(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=min(40, max(8, console.width // 4))),
            TextColumn("{task.fields[state]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            auto_refresh=False,
            # What is printed meanwhile appears above the bars; a piped stdout must stay what it is.
            redirect_stderr=self._redirect,
            redirect_stdout=self._redirect and sys.stdout is not None and sys.stdout.isatty(),
        )


class _Notebook:
    """One text per outermost task, rewritten in place: the notes made during it, then the open tasks."""

    period = LIVE_SECONDS

    def __init__(self) -> None:
        self._handle: Any = None
        self._notes: list[str] = []

    def draw(self, tasks: list[Task]) -> None:
        from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

        text = {"text/plain": "\n".join([*self._notes, *(_line(task) for task in tasks)])}
        if self._handle is None:
            self._handle = display(text, raw=True, display_id=True)
        else:
            self._handle.update(text, raw=True)

    def note(self, line: str, tasks: list[Task]) -> None:
        self._notes.append(line)
        self.draw(tasks)
        if not tasks:
            self._handle, self._notes = None, []

    def show(self, renderable: Any) -> None:
        from IPython.display import display

        display(renderable)

    def close(self, task: Task, *, last: bool) -> None:
        if not task.nested:
            self._notes.append(_line(task))
        if last:
            self.draw([])
            self._handle, self._notes = None, []


class _Safe:
    """A stream that may be missing, closed or broken, and never raises."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
        except (OSError, ValueError):
            self._stream = None
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError, AttributeError):
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.fileno()


def _line(task: Task) -> str:
    return f"{task.name}: {task.state()}"


def _console(stream: _Safe, terminal: bool) -> Any:
    from rich.console import Console

    return Console(file=stream, force_terminal=terminal, force_jupyter=False)  # type: ignore[arg-type]


def _view(safe: _Safe, given: TextIO | None) -> _View:
    if given is None and _in_notebook():
        return _Notebook()
    if safe.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return _Live(safe, redirect=given is None or given is sys.stderr)
    return _Plain(safe)


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel (also Colab's, VS Code's): IPython with a kernel behind it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
