"""Blocks of work for joblib, where a script has chosen one of its backends: the one place that knows of it.

joblib is not imported here before a script has done so: without ``joblib.parallel_config(...)`` around a call, nothing
changes by it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from .threads import at_most_threads, get_num_threads

T = TypeVar("T")

_own = threading.local()  # `at_work` in a thread that does a block: Dask's workers have an active backend, too


class Hired(NamedTuple):
    """The workers of the joblib backend that is active.

    Attributes
    ----------
    jobs : int
        How many work at once.
    name : str
        Of the backend, for errors.
    here : bool
        Whether they are threads of this process, which see and change its objects.
    asked : int
        The number for joblib, -1 for all.
    """

    jobs: int
    name: str
    here: bool
    asked: int

    def blocks(self, count: int) -> list[range]:
        """The numbers 0 to `count` - 1 in a block for each worker, dealt out in turn: neighbours cost alike."""
        return [range(first, count, self.jobs) for first in range(min(self.jobs, count))]

    def threads(self, each: int | None = None) -> int:
        """How many threads of this process do their work, with `each` for a worker, by default its share of all.

        Where they are `here` our own do it, which end with an error or Ctrl-C; those of joblib go on in the background.
        """
        return self.jobs * (max(1, get_num_threads() // self.jobs) if each is None else each)

    def do(self, function: Callable[[Any], T], blocks: Iterable[Any]) -> list[T]:
        """``function(block)`` for each block, each in a worker; errors are raised, and warnings repeated, here.

        Within it `get_num_threads` is the worker's part of what it is here.
        """
        from joblib import Parallel, delayed

        threads, here = max(1, get_num_threads() // self.jobs), os.getpid()
        work = Parallel(n_jobs=self.asked, batch_size=1, pre_dispatch="all")
        answers = work(delayed(_at_work)(function, block, threads, here) for block in blocks)
        results = []
        for result, said in answers:
            results.append(result)
            for message, category, file, line in said:
                warnings.warn_explicit(message, category, file, line)
        return results

    def check_travels(self, some: Sequence[Any], what: str) -> None:
        """See that objects can be sent to the workers.

        Raises
        ------
        TypeError
            If one cannot; it says what to do.
        """
        from joblib import wrap_non_picklable_objects

        for one in some:
            try:
                if reason := getattr(one, "stays", ""):
                    raise TypeError(reason)
                pickle.dumps(wrap_non_picklable_objects(one))
            except Exception as error:
                raise TypeError(
                    f"{what} holds {type(one).__name__}, which cannot go to the processes of joblib's {self.name} "
                    f"({error}); expected one that can be pickled and keeps what it learns in its attributes, or take "
                    "joblib.parallel_config('threading'), whose workers are threads of this process"
                ) from error


def hired(jobs: int | None = None) -> Hired | None:
    """The workers of the joblib backend that this script has made active; None if it has not, or within a worker.

    Parameters
    ----------
    jobs : int, optional
        How many of them to use; None for what ``parallel_config(n_jobs=...)`` says, or else all.
    """
    parallel = sys.modules.get("joblib.parallel")
    if getattr(_own, "at_work", False) or parallel is None or not hasattr(parallel, "get_active_backend"):
        return None
    try:  # of a default backend the two would be of two kinds
        (backend, told), (other, _) = (parallel.get_active_backend(prefer=kind) for kind in ("threads", "processes"))
    except ValueError:  # require="sharedmem", which our own threads do
        return None
    if backend is not other or backend.nesting_level:
        return None
    asked = jobs or told or -1
    count = int(backend.effective_n_jobs(asked))
    if count == 1 and type(backend).__module__.startswith("joblib._parallel"):
        return None
    name = type(backend).__name__.removesuffix("Backend").removesuffix("Distributed")
    return Hired(count, name, bool(getattr(backend, "supports_sharedmem", False)), asked)


@contextlib.contextmanager
def _working() -> Iterator[None]:
    before = getattr(_own, "at_work", False)
    _own.at_work = True
    try:
        yield
    finally:
        _own.at_work = before


def _at_work(function: Callable[[Any], T], block: Any, threads: int, home: int) -> tuple[T, list[Any]]:
    """What a worker does; with the warnings of one that is not the process `home`."""
    with _working(), at_most_threads(min(threads, get_num_threads())):
        if os.getpid() == home:
            return function(block), []
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = function(block)
    return result, [(one.message, one.category, one.filename, one.lineno) for one in said]
