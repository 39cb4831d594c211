"""Work on each sample of a batch -> the same work shared among threads, for what torch itself does on one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def in_parts(work: Callable[[range], None], count: int) -> None:
    """Do some work on samples 0 to count - 1, in as many threads as torch may use, each on a stretch of them.

    Args:
        work: given a range of samples, writes to what belongs to these alone, so that nothing hangs on who came first;
            it releases the interpreter lock most of the time, as torch does. What it raises is raised. In every thread
            it finds the caller's inference mode.
        count: samples.
    """
    import torch

    inference = torch.is_inference_mode_enabled()  # torch keeps it for each thread apart

    def likewise(samples: range) -> None:
        with torch.inference_mode(inference):
            work(samples)

    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(range(count))
        return
    edges = [count * part // threads for part in range(threads + 1)]
    others = [_pool(threads - 1).submit(likewise, range(*edges[part : part + 2])) for part in range(1, threads)]
    work(range(edges[0], edges[1]))
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="batchwise")
