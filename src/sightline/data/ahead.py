"""Things to decode -> the decoded ones, in order, made by threads ahead of whoever takes them, a bounded number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ahead(
    make: Callable[[T], U], given: Iterable[T], *, most: int, chunk: int = 1, workers: int | None = None
) -> Generator[U, None, None]:
    """Apply a function in threads; while its results are used, the next ones are made.

    Args:
        make: what releases the interpreter lock while it works, such as decoding an image; what it raises is raised
            where its result would have been given.
        given: what to apply it to; taken as it is needed.
        most: results, about, that are made or being made and not yet taken.
        chunk: things that one thread takes at a time: tiny ones are not worth a hand-over each.
        workers: threads; None: one for each processor, up to 16.

    Yields:
        the results in the order of what was given.
    """
    source = iter(given)
    pool = ThreadPoolExecutor(workers or min(cores(), 16), thread_name_prefix="ahead")
    waiting: deque[Future[list[U]]] = deque()

    def made(things: list[T]) -> list[U]:
        return [make(thing) for thing in things]

    try:
        while True:
            while len(waiting) * chunk < most or not waiting:
                things = list(islice(source, chunk))
                if not things:
                    break
                waiting.append(pool.submit(made, things))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
