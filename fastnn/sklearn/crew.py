"""The fits of a search, in threads of one process, or a block of them in each worker of joblib."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn import config_context, get_config
from threadpoolctl import threadpool_limits

from ..engine.crew import share_out
from ..engine.hired import Hired, hired
from ..engine.threads import at_most_threads, get_num_threads
from ..engine.workers import Flag
from ..training.settings import callback_list
from .candidate import Candidate, fit_and_score
from .fitting import Fitting, Past
from .fold import Fold


class Crew:
    """In the place of joblib's ``Parallel``, where scikit-learn's searches have theirs.

    Parameters
    ----------
    n_jobs : int, optional
        Threads; None for as many as `fastnn.get_num_threads` says.
    goes_on : bool
        Whether calls after the first go on with candidates of the first, on the same folds.

    Attributes
    ----------
    numbers : sequence of int or None
        Of the candidates of the next call: the place that each had in the first.
    """

    def __init__(self, n_jobs: int | None, goes_on: bool) -> None:
        self._n_jobs, self._goes_on = n_jobs, goes_on
        self.numbers: Sequence[int] | None = None
        self._folds: dict[int, Fold] = {}
        self._chunks: dict[Hashable, int] = {}
        self._pasts: dict[tuple[int, int], tuple[Any, Past]] = {}

    def __reduce__(self) -> tuple[type[Crew], tuple[Any, ...]]:
        """A new one: scikit-learn sends the search along with its fits, and what was made here is of no use there."""
        return Crew, (self._n_jobs, self._goes_on)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self._folds.clear()
        self._pasts.clear()

    def __call__(self, calls: Iterable[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """The results of calls of `fit_and_score`, as ``joblib.delayed`` writes them down; fold after fold."""
        tasks: list[Any] = list(calls)
        results: list[Any] = [None] * len(tasks)
        order = sorted(range(len(tasks)), key=lambda k: tasks[k][2]["split_progress"])
        left: dict[int, int] = {}
        for _, _, told in tasks:
            split = told["split_progress"][0]
            left[split] = left.get(split, 0) + 1
            self._open(split, told["train"], told["test"])
        workers = hired(self._n_jobs)
        if workers is not None and not workers.here:
            self._send(tasks, order, results, workers)
            return results
        interrupt, config = Flag(), get_config()
        threads = get_num_threads() if self._n_jobs is None else effective_n_jobs(self._n_jobs)
        if workers is not None:
            threads = workers.threads()

        def work(number: int) -> None:
            k = order[number]
            function, (estimator, X, y), told = tasks[k]
            tasks[k] = told["split_progress"][0]  # nobody else needs the estimator
            with config_context(**config), at_most_threads(1):
                results[k] = self._fit(function, estimator, X, y, told, interrupt)

        def finished(number: int) -> None:
            split = tasks[order[number]]
            left[split] -= 1
            if not left[split] and not self._goes_on:
                self._folds[split].clear()

        with threadpool_limits(1 if threads > 1 else None, "blas"):  # its threads would come on top of these
            share_out(work, len(tasks), threads, interrupt, finished)
        return results

    def _send(self, tasks: list[Any], order: Sequence[int], results: list[Any], workers: Hired) -> None:
        """Have workers of joblib do the tasks, a block each, and take home results, and where fits may go on from."""
        blocks = [[order[place] for place in block] for block in workers.blocks(len(tasks))]
        sent = []
        for block in blocks:
            own = [tasks[k][1:] for k in block]
            places = [self._place(told) for _, told in own]
            for (estimator, *_), told in own:
                some = {**estimator.get_params(), **told["parameters"]}
                for name in [name for name in some if name.rpartition("__")[2] == "callbacks"]:
                    workers.check_travels(callback_list(some[name]), name)
            pasts = {place: self._pasts.pop(place) for place in places if place in self._pasts}
            sent.append((own, get_config(), self._goes_on, self.numbers, pasts))
        for block, (found, pasts) in zip(blocks, workers.do(_block_of_search, sent)):
            self._pasts.update(pasts)
            for k, result in zip(block, found):
                results[k] = result

    @classmethod
    def block(
        cls, tasks: Iterable[Any], goes_on: bool, numbers: Sequence[int] | None, pasts: Mapping[tuple[int, int], Any]
    ) -> tuple[list[Any], dict[tuple[int, int], Any]]:
        """The results of some tasks, and where their fits may go on from, in a worker: see `_send`."""
        with cls(None, goes_on) as other:
            other.numbers = numbers
            other._pasts.update(pasts)
            return other((fit_and_score, given, told) for given, told in tasks), dict(other._pasts)

    def _place(self, told: Mapping[str, Any]) -> tuple[int, int]:
        """Of a fit: the number of its candidate in the first call, and of its fold."""
        candidate = told["candidate_progress"][0]
        return candidate if self.numbers is None else self.numbers[candidate], told["split_progress"][0]

    def _open(self, split: int, train: Any, test: Any) -> None:
        """Have a fold of these samples, or see that it is the one of the calls before."""
        fold = self._folds.setdefault(split, Fold(train, test))
        if not (fold.train is train or np.array_equal(fold.train, train)):
            raise ValueError(
                "cv yields other folds than before; expected the same in each call of split(), since the candidates "
                "go on with their training: set its random_state to an int, or shuffle=False"
            )

    def _fit(self, function: Any, estimator: Any, X: Any, y: Any, told: dict[str, Any], interrupt: Flag) -> Any:
        place = self._place(told)
        estimator, past = self._pasts.pop(place, (estimator, None))
        fitting = Fitting(self._folds[place[1]], interrupt, self._chunks, past)
        result = function(Candidate(estimator, fitting, told["parameters"]), X, y, **told)
        if self._goes_on and fitting.past is not None:
            self._pasts[place] = estimator, fitting.past
        return result


def _block_of_search(block: tuple[Any, ...]) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """What a worker does, with scikit-learn set as at home."""
    tasks, config, *rest = block
    with config_context(**config):
        return Crew.block(tasks, *rest)
