"""A candidate of a search on one fold."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _PassthroughScorer
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import type_of_target

from ..checks import Array
from .base import BaseMLP
from .classifier import MLPClassifier
from .fitting import Fitting
from .going_on import PLAIN
from .versions import borrowed


class Candidate:
    """A candidate on one fold, in the place of its estimator where scikit-learn fits and scores that.

    What others have made of the fold it takes from there. An estimator that does not end in one of fastnn's gets
    samples of its own, as in any other search.

    Parameters
    ----------
    estimator : estimator
        New, or fitted with a smaller budget.
    fitting : Fitting
    settings : dict
        Its parameters, as the search has them: in many candidates the same objects.
    """

    def __init__(self, estimator: Any, fitting: Fitting, settings: Mapping[str, Any]) -> None:
        self.estimator, self.fitting, self._settings = estimator, fitting, settings

    def set_params(self, **parameters: Any) -> Candidate:
        """Set parameters of the estimator."""
        self.estimator.set_params(**parameters)
        return self

    def part(self, X: Any, y: Any, rows: Any, of: Any = None) -> tuple[Any, Any]:
        """The samples of these numbers; where they are not those to learn from, they come with those."""
        if self._network is None:
            found: tuple[Any, Any] = _safe_split(self.estimator, X, y, rows, of)
            return found
        fold = self.fitting.fold
        of_fold = fold.train if of is None else fold.test
        X, y = fold.once("part", (of_fold,), lambda: fold.own(*_safe_split(self.estimator, X, y, rows, of)))
        return X, y

    def fit(self, X: Any, y: Any = None, **parameters: Any) -> None:
        """Fit the estimator."""
        network, y = self._network, () if y is None else (y,)
        if network is None or (network is not self.estimator and parameters):
            self.estimator.fit(X, *y, **parameters)
            return
        if network is not self.estimator:
            X = self._through_steps(X, *y)
        with self.fitting.open():
            network.fit(X, *y, **parameters)

    def judged(self, X: Any, y: Any, scorer: Any, *settings: Any) -> Any:
        """What scikit-learn's ``_score`` says of the fitted estimator."""
        network = self._network
        itself = network is not None and isinstance(scorer, _PassthroughScorer)
        if not itself and network is not self.estimator:
            return _score(self.estimator, X, y, scorer, *settings)
        with self.fitting.open():
            return _score(self if itself else self.estimator, X, y, scorer, *settings)

    def score(self, X: Any, y: Any = None, **parameters: Any) -> Any:
        """The estimator's own score."""
        network: Any = self._network
        if network is not self.estimator:
            if parameters:
                return self.estimator.score(X, y, **parameters)
            X = self._transformed(X)
        if not parameters and type(network).score is MLPClassifier.score:
            labels = self.fitting.fold.once("labels", (y,), lambda: _one_label_each(y))
            if labels is not None:  # accuracy, without looking at the labels again
                return float(np.average(network.predict(X) == labels))
        return network.score(X, y, **parameters)

    @property
    def _network(self) -> BaseMLP | None:
        """The estimator, or the last step of a pipeline, if it is one of fastnn's."""
        last = self.estimator
        if type(last) is Pipeline and not getattr(last, "transform_input", None):
            last = last.steps[-1][1]
        return last if isinstance(last, BaseMLP) else None

    def _through_steps(self, X: Any, *y: Any) -> Any:
        """X as the last step of the pipeline gets it; candidates whose steps before it are the same share them."""
        pipeline, fold = self.estimator, self.fitting.fold
        if len(pipeline.steps) == 1:
            return X
        last = pipeline.steps[-1][0]
        named = {name: value for name, value in self._settings.items() if name.partition("__")[0] != last}
        plain = tuple((name, type(value), value) for name, value in named.items() if isinstance(value, PLAIN))
        others = {name: value for name, value in named.items() if not isinstance(value, PLAIN)}

        def fitted() -> tuple[Any, Any]:
            steps = clone(pipeline[:-1])
            return steps, *fold.own(steps.fit_transform(copy.deepcopy(X), *y))  # they may write into it

        what = ("steps", frozenset(plain), tuple(others))
        steps, rows = fold.once(what, (X, *others.values()), fitted)
        pipeline.steps[:-1] = steps.steps
        return rows

    def _transformed(self, X: Any) -> Any:
        """X as the last step of the fitted pipeline gets it."""
        steps = self.estimator[:-1]
        if not len(steps):
            return X
        of, fold = (*(step for _, step in steps.steps), X), self.fitting.fold
        return fold.once("transformed", of, lambda: fold.own(steps.transform(copy.deepcopy(X))))[0]


def _one_label_each(y: Any) -> Array | None:
    """The labels, if they are an array with one for each sample, which `predict` can be compared with."""
    plain = isinstance(y, np.ndarray) and y.ndim == 1 and type_of_target(y) in ("binary", "multiclass")
    return y if plain else None


def _part(estimator: Any, X: Any, y: Any, rows: Any, of: Any = None) -> Any:
    return estimator.part(X, y, rows, of)


def _judged(estimator: Any, *arguments: Any) -> Any:
    return estimator.judged(*arguments)


fit_and_score = borrowed(_fit_and_score, _safe_split=_part, _score=_judged)
"""scikit-learn's function of that name, for a `Candidate` in the place of the estimator."""
