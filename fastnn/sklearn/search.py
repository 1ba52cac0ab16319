"""Searches for parameters whose fits all run in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from joblib import delayed
from sklearn.base import _fit_context
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, StrOptions

from ..data.sources import check_in_memory
from .candidate import fit_and_score
from .crew import Crew
from .halving import best, budgets
from .versions import borrowed


class BankSearchCV(BaseSearchCV):
    """scikit-learn's ``GridSearchCV`` and ``RandomizedSearchCV``, with all fits in threads of this process.

    For fastnn's estimators, alone or as the last step of a `Pipeline`: the samples of a fold are taken out, checked
    and converted once, and so are the earlier steps of a pipeline fitted, once for all candidates that have the same;
    nothing is pickled. The scores are those of scikit-learn's searches for the same `random_state`, bit for bit. What
    is no estimator of fastnn's is searched as scikit-learn does it, in the same threads.

    Parameters
    ----------
    estimator : estimator
        Such as `MLPClassifier`, `MLPRegressor`, or a pipeline of them.
    param_grid : dict or list of dict
        Lists of values by parameter: all their combinations, as in ``GridSearchCV``.
    param_distributions : dict or list of dict
        In the place of `param_grid`: lists or distributions by parameter, from which `n_iter` candidates are drawn, as
        in ``RandomizedSearchCV``.
    n_iter : int, default 10
        How many candidates are drawn.
    scoring : str, callable, list, tuple or dict, default None
        One scorer of scikit-learn or several; None is the estimator's ``score``.
    n_jobs : int or None, default None
        Threads, each with a fit at a time; -1 for all cores, None for as many as `fastnn.get_num_threads` says. Scores
        do not depend on it.
    refit : bool, str or callable, default True
        Whether to fit the best candidate to all samples; of several scorers the name of the one that counts; or a
        function of ``cv_results_`` that returns the index of the best.
    cv : int, splitter or iterable, default None
        Folds, as in ``GridSearchCV``; None for five.
    verbose : int, default 0
        As in ``GridSearchCV``: 1 says how many fits there are, 2 prints a line for each, 3 its score.
    pre_dispatch : int or str, default "2*n_jobs"
        Accepted, and of no effect: there is nothing to dispatch.
    random_state : int, RandomState or None, default None
        Of the draw of candidates.
    error_score : "raise" or float, default nan
        The score of a fit that fails, such as one that diverges, with a ``FitFailedWarning``; or raise its error.
    return_train_score : bool, default False
        Whether ``cv_results_`` has the scores on the samples learnt from.
    halving : bool, default False
        Whether only the better candidates are trained to the end: see the notes.
    factor : float, default 2
        With `halving`: the part 1 / `factor` of the candidates, rounded up, goes on, to `factor` times as many epochs.
    min_resources : int or "exhaust", default "exhaust"
        With `halving`: the epochs of the first round; "exhaust" is as many as let the last round come to
        `max_resources`.
    max_resources : int or "auto", default "auto"
        With `halving`: epochs at most; "auto" is the estimator's `max_iter`.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As in ``GridSearchCV``: ``params``, ``param_*``, ``split*_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``, times, and train scores. With `halving` also ``iter`` and
        ``n_resources``, the number of the round and the epochs at its end, and a candidate for each round it was in.
    best_estimator_, best_score_, best_params_, best_index_
        With `halving` the best of the last round.
    scorer_, n_splits_, refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_
        As in ``GridSearchCV``.
    n_candidates_, n_resources_ : list of int
        With `halving`: how many candidates were in each round, and their epochs.

    Notes
    -----
    `halving` is scikit-learn's ``HalvingGridSearchCV(resource="max_iter", ...)``, with the same rounds, except that
    the candidates that go on continue with their training where they are: networks, optimisers, orders of samples
    and stopping rules go on, so that the scores are those of training anew with more epochs, bit for bit, and cost
    only the epochs that are new. Fits that are more than their epochs are done anew: with ``solver="lbfgs"``
    (where `max_iter` counts iterations), `early_stopping`, `validation_data`, or callbacks. A candidate
    that has converged stays as it is. `max_iter` cannot be searched for then; in ``best_params_`` it is that of the
    last round.

    Within ``joblib.parallel_config("loky")``, or ``"dask"``, ``"ray"``, ``"threading"``, each of joblib's workers gets
    a block of the fits, and `n_jobs` says how many workers there are; scores are the same.

    Ctrl-C stops the search within about a tenth of a second, where the fits are fastnn's.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import BankSearchCV, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(max_iter=40, tol=0, random_state=0)
    >>> grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2], "hidden_layer_sizes": [(16,), (32,)]}
    >>> search = BankSearchCV(model, grid, cv=3).fit(X, y)
    >>> search.best_params_["learning_rate_init"]
    0.01
    >>> bool(search.best_score_ > 0.9)
    True
    >>> halving = BankSearchCV(model, grid, cv=3, halving=True).fit(X, y)
    >>> halving.n_candidates_, halving.n_resources_
    ([8, 4, 2, 1], [5, 10, 20, 40])
    """

    _parameter_constraints = {
        **getattr(BaseSearchCV, "_parameter_constraints"),  # noqa: B009
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "halving": ["boolean"],
        "factor": [Interval(Real, 1, None, closed="neither")],
        "min_resources": [Interval(Integral, 1, None, closed="left"), StrOptions({"exhaust"})],
        "max_resources": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any = None,
        *,
        param_distributions: Any = None,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
        halving: bool = False,
        factor: float = 2,
        min_resources: int | str = "exhaust",
        max_resources: int | str = "auto",
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_grid = param_grid
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.random_state = random_state
        self.halving = halving
        self.factor = factor
        self.min_resources = min_resources
        self.max_resources = max_resources

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> BankSearchCV:
        """Fit all candidates on all folds, and the best to all samples.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like
            As the estimator takes it.
        **params
            For the ``fit`` of the estimator, such as ``sample_weight``, of which each fold gets its part, and
            ``groups`` for the splitter; with metadata routing what was requested.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter of the search does not fit, if all fits fail, or with ``error_score="raise"`` one.

        Warns
        -----
        FitFailedWarning
            If some fits fail.
        """
        check_in_memory(X, type(self).__name__)
        self._crew = Crew(self.n_jobs, self.halving)
        try:
            names = {"Parallel": lambda **_: self._crew, "delayed": delayed, "_fit_and_score": fit_and_score}
            borrowed(BaseSearchCV.fit, **names)(self, X, y, **params)
        finally:
            del self._crew
        return self

    def _run_search(self, evaluate_candidates: Callable[..., Any]) -> None:
        """Evaluate the candidates; called by scikit-learn."""
        candidates = list(self._candidates())
        if not self.halving:
            evaluate_candidates(candidates)
            return
        resource = self._resource(candidates)
        most: Any = self.estimator.get_params()[resource] if self.max_resources == "auto" else self.max_resources
        least: Any = None if self.min_resources == "exhaust" else self.min_resources
        if least is not None and least > most:
            raise ValueError(f"min_resources is {least} but max_resources {most}; expected no more than that")
        numbers, scores = list(range(len(candidates))), np.zeros(len(candidates))
        self.n_candidates_: list[int] = []
        self.n_resources_: list[int] = []
        for count, epochs in budgets(len(candidates), self.factor, least, most):
            numbers = best(scores, numbers, count)
            number = len(self.n_candidates_)
            if self.verbose:
                print(f"----------\niter: {number}\nn_candidates: {count}\nn_resources: {epochs}")
            self._crew.numbers = numbers
            self.n_candidates_.append(count)
            self.n_resources_.append(epochs)
            results = evaluate_candidates(
                [{**candidates[k], resource: epochs} for k in numbers],
                more_results={"iter": [number] * count, "n_resources": [epochs] * count},
            )
            scores = results[self._metric(results)][-count:]

    def _candidates(self) -> Any:
        """The candidates, of the grid or drawn."""
        grid, distributions = self.param_grid, self.param_distributions
        if (grid is None) == (distributions is None):
            have = "are both None" if grid is None else "are both given"
            raise ValueError(
                f"param_grid and param_distributions {have}; expected one: param_grid={{'alpha': [1e-4, 1e-2]}}, of "
                "which all combinations are tried, or param_distributions, from which n_iter candidates are drawn"
            )
        if grid is None:
            return ParameterSampler(distributions, self.n_iter, random_state=self.random_state)
        for some in [grid] if isinstance(grid, Mapping) else grid:
            for name, values in some.items() if isinstance(some, Mapping) else ():
                if hasattr(values, "rvs"):
                    raise TypeError(
                        f"param_grid has a distribution for {name!r}; expected a list of values, or the same as "
                        "param_distributions=..., from which n_iter candidates are drawn"
                    )
        return ParameterGrid(grid)

    def _resource(self, candidates: list[dict[str, Any]]) -> str:
        """The name of the parameter that says how many epochs there are."""
        name = "max_iter"
        if isinstance(self.estimator, Pipeline):
            name = f"{self.estimator.steps[-1][0]}__{name}"
        if name not in self.estimator.get_params():
            raise ValueError(
                f"halving is True but {type(self.estimator).__name__} has no parameter {name}; expected an estimator "
                "whose epochs it can count"
            )
        if any(name in candidate for candidate in candidates):
            raise ValueError(f"halving is True but {name} is searched for; expected it to be left to max_resources")
        return name

    def _metric(self, results: Mapping[str, Any]) -> str:
        """The name of the scores that say which candidates go on."""
        name = f"mean_test_{self.refit if isinstance(self.refit, str) else 'score'}"
        if name not in results:
            raise ValueError(
                f"halving is True with several scorers and refit={self.refit!r}; expected the name of the one that "
                "says which candidates go on"
            )
        return name

    def _select_best_index(self, refit: Any, refit_metric: str, results: Mapping[str, Any]) -> Any:
        """The index of the best candidate, with `halving` of the last round; called by scikit-learn."""
        if not self.halving or callable(refit):
            return super()._select_best_index(refit, refit_metric, results)
        last = np.flatnonzero(results["iter"] == np.max(results["iter"]))
        scores = results[f"mean_test_{refit_metric}"][last]
        return last[0 if np.isnan(scores).all() else np.nanargmax(scores)]
