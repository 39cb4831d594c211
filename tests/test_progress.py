"""Progress is a live bar on a terminal, few lines elsewhere, nothing when quiet, and never a reason to fail."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest
from rich.table import Table

from sightline import progress as room
from sightline.progress import Progress, span


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(room, "monotonic", clock)
    return clock


class Terminal:
    """A real pseudo-terminal; ``text`` is all that was sent to it."""

    def __init__(self) -> None:
        pty = pytest.importorskip("pty")
        self.master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w")

    def text(self) -> str:
        self.stream.flush()
        os.set_blocking(self.master, False)
        parts = []
        try:
            while part := os.read(self.master, 65536):
                parts.append(part)
        except OSError:
            pass
        return b"".join(parts).decode()

    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.text())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    yield terminal
    terminal.stream.close()
    os.close(terminal.master)


def test_importing_it_imports_neither_rich_nor_torch() -> None:
    code = "import sys, sightline.progress; assert not {'rich', 'torch', 'IPython'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_terminal_gets_a_bar_that_moves_in_place(terminal: Terminal, clock: Clock) -> None:
    progress = Progress(stream=terminal.stream)
    assert progress.live
    with progress.task("Decoding", total=2000) as task:
        for _ in range(10):
            clock.now += 1
            task.advance(200)
            task.describe("fast [x]")
    text = terminal.text()
    assert "━" in text
    assert "\x1b[2K" in text  # a line is erased to be drawn again
    assert "Decoding" in text
    assert "200 of 2,000, 9.0 s left" in text
    assert "fast [x]" in text
    assert "2,000 in 10 s" in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_a_bar_is_drawn_at_most_ten_times_a_second(terminal: Terminal, clock: Clock) -> None:
    with Progress(stream=terminal.stream).task("Steps", total=5000) as task:
        for _ in range(5000):
            clock.now += 0.001
            task.advance()
    drawn = terminal.screen().count("Steps")
    assert 40 <= drawn <= 55  # 5 seconds, and the first and last picture


def test_no_color_is_respected(terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with Progress(stream=terminal.stream).task("Steps", total=2) as task:
        clock.now += 1
        task.advance()
    colours = [code for code in re.findall(r"\x1b\[([0-9;]*)m", terminal.text()) if re.search(r"(3|4|9)\d|38", code)]
    assert colours == []


def test_a_narrow_terminal_keeps_one_line_a_task(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with Progress(stream=terminal.stream).task("Steps", total=50_000) as task:
        clock.now += 1
        task.advance()
        clock.now += 1
        task.describe("loss 0.312345, accuracy 0.98765, and more words than fit")
    assert all(len(line) <= 40 for line in re.split(r"[\r\n]+", terminal.screen()))


def test_nested_tasks_are_shown_together_and_leave_only_the_outermost(terminal: Terminal, clock: Clock) -> None:
    progress = Progress(stream=terminal.stream)
    with progress.task("Training", total=2) as training:
        for epoch in (1, 2):
            with progress.task("Steps", total=3) as steps:
                for _ in range(3):
                    clock.now += 1
                    steps.advance()
            progress.note(f"epoch {epoch}: validation loss [0.3]")
            training.advance()
    screen = terminal.screen()
    assert "epoch 1: validation loss [0.3]\r\n" in screen
    lines = [line for line in re.split(r"[\r\n]+", screen) if line.strip()]
    assert "Training" in lines[-1]
    assert "2 in 6.0 s" in lines[-1]
    assert any("Steps" in line for line in lines)


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    progress = Progress(stream=terminal.stream)
    assert not progress.live
    progress.note("hello")
    assert terminal.text() == "hello\r\n"


def test_a_pipe_gets_a_line_when_a_task_turns_out_long_and_one_when_it_ends(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream).task("Decoding", total=1000) as task:
        for _ in range(10):
            clock.now += 1
            task.advance(100)
    assert stream.getvalue().splitlines() == ["Decoding: 200 of 1,000, 8.0 s left", "Decoding: 1,000 in 10 s"]


def test_a_pipe_hears_nothing_of_short_tasks(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for _ in range(100):
        with progress.task("Decoding", total=1000) as task:
            clock.now += 1
            task.advance(1000)
    assert stream.getvalue() == ""


def test_a_pipe_is_never_flooded(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    with progress.task("Training", total=10) as training:
        for epoch in range(10):
            with progress.task("Steps", total=10_000) as steps:
                for _ in range(10_000):
                    clock.now += 0.01
                    steps.advance()
            training.advance()
            progress.note(f"epoch {epoch + 1}")
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("epoch")]) == 10
    assert len(lines) <= 10 + 2 + 10 * 3  # each epoch takes 100 s: a sign of life every 30 s, no more
    assert any(
        re.fullmatch(r"Training: 1 of 10, 14 min 30 s left; Steps: 3,0\d\d of 10,000, .* left", x) for x in lines
    )
    assert lines[-1] == "Training: 10 in 16 min 40 s"


def test_a_task_that_fails_says_how_far_it_came(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)

    def work() -> None:
        with progress.task("Decoding", total=10) as task:
            task.advance(4)
            clock.now += 5
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert stream.getvalue() == "Decoding: 4 of 10 done when it stopped, after 5.0 s\n"


def test_a_task_without_a_total_counts(clock: Clock, terminal: Terminal) -> None:
    with Progress(stream=terminal.stream).task("Reading") as task:
        clock.now += 3
        task.advance(7)
        assert task.state() == "7 in 3.0 s"
    assert "7 in 3.0 s" in terminal.screen()


def test_what_was_done_before_does_not_count_for_the_speed(clock: Clock) -> None:
    with Progress(quiet=True).task("Training", total=10, done=6) as task:
        assert task.state() == "6 of 10"
        clock.now += 20
        task.advance()
        assert task.state() == "7 of 10, 1 min 0 s left"


def test_quiet_is_silent(terminal: Terminal, clock: Clock) -> None:
    progress = Progress(quiet=True, stream=terminal.stream)
    with progress.task("Decoding", total=10) as task:
        clock.now += 100
        task.advance(10)
    progress.note("x")
    assert terminal.text() == ""
    assert not progress.live


def test_stdout_is_left_alone(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    progress = Progress()
    with progress.task("Decoding", total=10) as task:
        clock.now += 100
        task.advance(10)
    progress.note("a note")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("a note\n")


class Broken(io.StringIO):
    def __init__(self, error: Exception, tty: bool) -> None:
        super().__init__()
        self.error, self.tty = error, tty

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize("tty", [True, False])
@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "gone"), ValueError("I/O operation on closed file")])
def test_a_broken_stream_is_no_reason_to_fail(
    error: Exception, tty: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress(stream=Broken(error, tty))
    with progress.task("Training", total=3) as task:
        for _ in range(3):
            clock.now += 10
            task.advance()
            progress.note("x")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_closed_or_full_stderr_is_no_reason_to_fail(redirection: str) -> None:
    if sys.platform != "linux":
        pytest.skip("a shell and /dev/full")
    code = (
        "from sightline.progress import Progress\np = Progress()\nwith p.task('x', total=2) as t:\n"
        "    t.advance()\n    p.note('y')\n"
    )
    subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -c "{code}" {redirection}'], check=True)


def test_a_missing_stderr_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    Progress().note("x")


def test_what_is_printed_meanwhile_stays_whole_and_stdout_stays_stdout() -> None:
    """A program on a terminal whose stdout is a pipe: warnings go above the bar, results into the pipe."""
    pty = pytest.importorskip("pty")
    code = (
        "import sys\nfrom sightline.progress import Progress\np = Progress()\nassert p.live\n"
        "with p.task('Work', total=2) as t:\n"
        "    print('result')\n    print('warning', file=sys.stderr)\n    t.advance(2)"
    )
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=slave, env=env, check=True)
    os.close(slave)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert done.stdout.decode().strip() == "result"
    assert "result" not in shown
    assert "warning\r\n" in shown
    assert re.search(r"2 in \d+\.\d s", shown)


def test_many_threads_count_right(terminal: Terminal) -> None:
    progress = Progress(stream=terminal.stream)
    with progress.task("Decoding", total=8000) as task:

        def work() -> None:
            for _ in range(1000):
                task.advance()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert task.done == 8000
    assert "8,000 in" in terminal.screen()


def test_no_thread_is_left_or_even_started(terminal: Terminal) -> None:
    before = threading.active_count()
    with Progress(stream=terminal.stream).task("Decoding", total=2) as task:
        task.advance()
        assert threading.active_count() == before


def test_a_notebook_gets_one_text_that_changes(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    shown: list[str] = []
    updates: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            updates.append(content["text/plain"])

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(content["text/plain"])
        return Handle()

    shell: Callable[[], Any] = lambda: types.SimpleNamespace(kernel=object())  # noqa: E731
    module, display_module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython, display_module.display = shell, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display_module)
    progress = Progress()
    assert progress.live
    with progress.task("Training", total=2) as training:
        with progress.task("Steps", total=10) as steps:
            clock.now += 1
            steps.advance(5)
        progress.note("epoch 1")
        training.advance(2)
    progress.note("done")
    assert shown == ["Training: 0 of 2", "done"]
    assert updates == [
        "Training: 0 of 2\nSteps: 5 of 10, 1.0 s left",
        "epoch 1\nTraining: 0 of 2",
        "epoch 1\nTraining: 2 in 1.0 s",
    ]


def test_a_table_is_shown_where_the_rest_is(terminal: Terminal, clock: Clock) -> None:
    table = Table("class", "images")
    table.add_row("[cat]", "7")
    stream = io.StringIO()
    for progress in (Progress(stream=terminal.stream), Progress(stream=stream), Progress(quiet=True)):
        progress.show(table)
        with progress.task("Work", total=1):
            progress.show("between [7]")
    assert "images" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    screen = terminal.screen()
    assert "images" in screen
    assert "between [7]\r\n" in screen


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (9.949, "9.9 s"), (9.95, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"),
     (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert span(seconds) == said
