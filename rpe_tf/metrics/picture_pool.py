"""A function over pictures on several processes, with progress."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

# Seconds between two looks at a progress bar, on a screen and in a log file.
_SCREEN_SECONDS, _LOG_SECONDS = 0.2, 10.0


def map_pictures(
    call: Callable[[Any], Any], items: Sequence[Any], num_processes: int, title: str
) -> Iterator[Any]:
    """Yields call(item) in the items' order, with a progress bar.

    Args:
      call: a function that can be pickled where there are several processes.
      items: one a picture, likewise.
      num_processes: >= 1; with 1 all happens in this one.
      title: of the progress bar.

    Raises:
      ValueError: if a process is ended from outside; and whatever call raises, at once.
    """
    seconds = _SCREEN_SECONDS if sys.stderr.isatty() else _LOG_SECONDS
    bar = tqdm(total=len(items), desc=title, unit=" pictures", mininterval=seconds)
    with bar:
        if num_processes == 1 or len(items) == 1:
            for item in items:
                yield call(item)
                bar.update()
            return
        # Spawned, not forked: the same on every system, whatever threads the caller has.
        context = multiprocessing.get_context("spawn")
        num_workers = min(num_processes, len(items))
        pool = ProcessPoolExecutor(num_workers, context)
        try:
            jobs = [pool.submit(call, item) for item in items]
            for job in as_completed(jobs):
                job.result()  # A wrong file ends the work now, not when its turn comes.
                bar.update()
            yield from (job.result() for job in jobs)
        except BrokenProcessPool as error:
            raise ValueError(
                "a process was ended from outside, perhaps for lack of memory; take fewer"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
