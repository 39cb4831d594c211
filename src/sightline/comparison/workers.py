"""Runs to make -> runs made: one after the other, or in processes that share the processor's threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from sightline.comparison.budget import Budget
from sightline.comparison.running import Job, Stock, make
from sightline.errors import SightlineError
from sightline.models import arithmetic
from sightline.progress import Muted, Progress
from sightline.settings import Settings

MULTIPLY_ADDS_PER_S, STEP_S = 2e10, 5e-3
"""What a laptop does, and what a step costs it besides; only ratios of what follows from them are used."""

CORES = 4
"""Cores for each run that goes on at a time, where nothing is said: small networks gain little from more."""


def carry_out(
    planned: Sequence[Job],
    resolved: Mapping[str, Settings],
    stock: Stock,
    progress: Progress,
    *,
    jobs: int,
    budget: Budget | None,
    dropped: Callable[[Job], str] = lambda job: "",
    name: str = "Comparison",
) -> str:
    """Make all runs that are not there yet; one that fails is left as such, and the rest goes on.

    Args:
        planned: all runs, in the order in which they are made.
        resolved: settings of each arm, all decided.
        stock: the data.
        progress: shows what happens.
        jobs: how many go on at a time.
        budget: the time for all; None has no end.
        dropped: asked before each run; says why it is not worth making.
        name: of the whole, on the bar.

    Returns:
        Why it ended early; empty if it did not.

    Raises:
        SightlineError: a run cannot be written, or another process is making it.
    """
    todo = [job for job in planned if job.status in ("missing", "begun")]
    weights = {label: weigh(settings, stock) for label, settings in resolved.items()}
    work = {job.said: weights[job.arm.label] for job in planned}
    until = None if budget is None else time.monotonic() + 60 * budget.minutes
    stopped = ""

    def following() -> Iterator[Job]:
        nonlocal stopped
        for job in todo:
            if budget is not None and until is not None and time.monotonic() + budget.seconds[job.arm.label] > until:
                stopped = f"the next run would not fit into the {budget.minutes:g} minutes"
            if stopped:
                return
            why = dropped(job)
            if why:
                progress.note(f"{job.said} is left out: {why}")
                task.advance(work[job.said] * share)
            else:
                yield job

    ready, share = len(planned) - len(todo), 100 / max(sum(work.values()), 1e-9)
    done = sum(work.values()) - sum(work[job.said] for job in todo)
    with progress.task(f"{name}, %", total=100, done=done * share) as task:
        task.describe(f"{len(todo)} of {len(planned)} runs to make")
        made = at_once(following(), stock, jobs) if jobs > 1 else in_turn(following(), stock, progress)
        try:
            for number, (job, said) in enumerate(made, ready + 1):
                if job.status == "begun":
                    stopped = "interrupted"
                else:
                    progress.note(f"run {number} of {len(planned)}, {job.said}: {said}")
                    task.advance(work[job.said] * share)
                    task.describe(f"{number} of {len(planned)} runs made")
        except KeyboardInterrupt:
            stopped = "interrupted"
    return stopped


def weigh(settings: Settings, stock: Stock) -> float:
    """Guess the seconds of a run from its multiplications, so that the time left is not that of the cheapest arm."""
    rows = arithmetic.table(stock.plan(settings))
    batch = settings.batch_size or 1
    steps = (settings.train_steps or len(stock.data(settings).split.train) / batch) * (settings.epochs or 1)
    return steps * (STEP_S + batch * 3 * arithmetic.multiply_adds(rows) / MULTIPLY_ADDS_PER_S)


def default_jobs(device: str) -> int:
    """Choose how many runs go on at a time: one on a GPU, else one for every four cores."""
    return 1 if device != "cpu" else max(1, cores() // CORES)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_turn(jobs: Iterator[Job], stock: Stock, progress: Progress) -> Iterator[tuple[Job, str]]:
    """Make runs in this process, one after the other; give each with how it ended."""
    for job in jobs:
        yield job, make(job, stock, Muted(progress))


def at_once(jobs: Iterator[Job], stock: Stock, number: int) -> Iterator[tuple[Job, str]]:
    """Make runs in ``number`` processes; give each with how it ended, in the order in which they end.

    Ctrl-C reaches every process once: each ends its epoch, keeps what it has, and is waited for.

    Raises:
        SightlineError: as making a run does; after all that were being made have ended.
        KeyboardInterrupt: likewise.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    working: dict[Connection, tuple[SpawnProcess, Job]] = {}
    fault: SightlineError | None = None
    interrupted = False
    for _ in range(number):
        job = next(jobs, None)
        if job is None:
            break
        ours, theirs = context.Pipe()
        what = (theirs, stock.source, stock.base, max(1, cores() // number))
        process = context.Process(target=_serve, args=what, daemon=True)
        process.start()
        theirs.close()
        ours.send(job)
        working[ours] = (process, job)
    while working:
        try:
            ready = [pipe for pipe in wait([*working]) if isinstance(pipe, Connection)]
        except KeyboardInterrupt:
            interrupted = True
            for process, _ in working.values():
                os.kill(process.pid or os.getpid(), signal.SIGINT)
            continue
        for pipe in ready:
            process, job = working.pop(pipe)
            said, wrong = _answer(pipe)
            fault = fault or wrong
            if wrong is None:
                yield job, said
            job_after = None if interrupted or fault or not process.is_alive() else next(jobs, None)
            if job_after is None:
                pipe.close()
                process.join()
            else:
                pipe.send(job_after)
                working[pipe] = (process, job_after)
    if fault is not None:
        raise fault
    if interrupted:
        raise KeyboardInterrupt


def _answer(pipe: Connection) -> tuple[str, SightlineError | None]:
    try:
        said, *wrong = pipe.recv()
    except EOFError:
        return "", SightlineError(
            "a process that trained was ended from outside, perhaps because memory ran out.",
            "Run the same command with fewer --jobs; it goes on where it was.",
        )
    return said, SightlineError(*wrong) if wrong else None


def _serve(pipe: Connection, source: Any, base: Settings, threads: int) -> None:
    """Make the runs that come through a pipe until it closes; what a process of its own does."""
    import torch

    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C on the terminal reaches the first process only, which passes it on once
    torch.set_num_threads(threads)
    stock, quiet = Stock(source, base, Progress(quiet=True)), Progress(quiet=True)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            pipe.send((make(job, stock, quiet),))
        except KeyboardInterrupt:
            pipe.send(("interrupted",))
        except SightlineError as error:
            pipe.send(("", error.fault, error.hint))
