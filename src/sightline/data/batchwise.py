"""Work on each sample of a batch -> the same work shared among threads, without torch's own getting in their way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

STRETCHES = 4
"""Stretches of a batch, for each thread that shares it."""

SHARED = 1 << 20
"""Bytes from which it is worth sharing a copy among threads."""


def in_parts(work: Callable[[range], None], count: int) -> None:
    """Do some work on samples 0 to count - 1, in as many threads as torch may use, a stretch of them at a time.

    Whoever is done takes the next stretch, so that nobody waits long for a thread whose processor others use, too.

    Args:
        work: given a range of samples, writes to what belongs to these alone, so that nothing hangs on who came first;
            it releases the interpreter lock most of the time, as torch does. What it raises is raised. In every thread
            it finds the caller's inference mode.
        count: samples.
    """
    import torch

    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(range(count))
        return
    parts = min(count, threads * STRETCHES)
    edges = [count * part // parts for part in range(parts + 1)]
    waiting = iter([range(*edges[part : part + 2]) for part in range(parts)])  # threads take from a list's in turn
    inference = torch.is_inference_mode_enabled()  # torch keeps it for each thread apart

    def take() -> None:
        with torch.inference_mode(inference):
            for samples in waiting:
                work(samples)

    with alone():
        others = [_pool(threads - 1).submit(take) for _ in range(threads - 1)]
        take()
        for other in others:
            other.result()


def gather(store: Tensor, rows: Tensor, out: Tensor) -> None:
    """Copy rows of a store into another tensor.

    Args:
        store: (N, ...), in the processor's memory, or a file that is mapped into it.
        rows: int64 (B,), 0..N-1.
        out: (B, ...), of the store's dtype.
    """
    import torch

    def copy(samples: range) -> None:
        part = slice(samples.start, samples.stop)
        torch.index_select(store, 0, rows[part], out=out[part])

    if out.nbytes < SHARED:
        copy(range(len(rows)))
    else:
        in_parts(copy, len(rows))


def alone() -> AbstractContextManager[Any]:
    """Let torch use no helpers in the calling thread until the context is left; other threads keep theirs.

    Threads that share work would each get helpers for every large operation, which mostly wait, busily: on 2 cores
    cutting and normalising photos takes 1.5 times as long with them.
    """
    import torch

    torch.get_num_threads()  # a thread that has not asked before would take torch's number after the limit
    return _openmp().limit(limits=1)  # type: ignore[no-any-return, unused-ignore]


@cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    return ThreadpoolController().select(user_api="openmp")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="batchwise", initializer=alone)
