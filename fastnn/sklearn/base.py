"""What both estimators do: check, build, train, and show what came of it."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..bank import NetworkBank
from ..checks import Array, shown
from ..data.sources import check_in_memory
from ..engine.threads import at_most_threads
from ..formulas.activations import ActivationFunction
from ..formulas.losses import LossFunction
from ..formulas.schedules import Schedule
from ..network import NeuralNetwork
from ..training.callbacks import Trainee
from ..training.many import check_places
from ..training.settings import Settings, callback_list
from . import building
from .fitting import current, once
from .going_on import OF_NETWORK, OF_STEPS, Standing, check_weights_kept
from .held_out import Sample, checked_groups, checked_weights, split
from .solvers import NOT_FINITE, descend, lbfgs, penalty
from .sparse import answering
from .stopping import Course, Rules, StoppingRule
from .versions import validate_data

LARGEST_SEED = 2**31 - 1


class BaseMLP(BaseEstimator, ABC):
    """Base of the two estimators; each says what its targets, outputs and scores are.

    Attributes
    ----------
    networks_ : list of NeuralNetwork
    network_ : NeuralNetwork
        The first of them, whose weights `coefs_` and `intercepts_` show.
    """

    networks_: list[NeuralNetwork]
    coefs_: list[Array]
    intercepts_: list[Array]
    _standing: Standing

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """The names of the parameters; scikit-learn asks for them again and again, and each time reads a signature."""
        return list(super()._get_param_names())

    def set_params(self, **params: Any) -> Any:
        """Set parameters by name.

        Parameters
        ----------
        **params
            Those of `get_params`. The objects among them have none of their own: pass another one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such parameter; then none is set.
        """
        for key, given in params.items():
            name, _, rest = key.partition("__")
            if name not in self._get_param_names():
                super().set_params(**{key: given})  # says which there are
            if rest and not hasattr(value := getattr(self, name), "set_params"):
                raise ValueError(
                    f"Invalid parameter {key!r} for estimator {type(self).__name__}: {name} is {shown(value)}, "
                    f"which is no estimator; expected a value for {name} itself"
                )
        super().set_params(**params)
        return self

    def _check_parameters(self) -> None:
        """Check the parameters, if they are not those of the last call."""
        values = [getattr(self, name) for name in self._get_param_names()]
        if len(self._checked_values) != len(values) or any(a is not b for a, b in zip(values, self._checked_values)):
            self._validate_params()
            self._checked_values = values

    _checked_values: Sequence[Any] = ()

    # --- what a kind of estimator says ---------------------------------------------------------

    @abstractmethod
    def _targets(self, y: Any) -> Array:
        """The targets of a checked y, of two dimensions: values, labels, or the numbers of classes (n, 1)."""

    @abstractmethod
    def _loss(self, outs: int) -> LossFunction:
        """The loss for so many outputs."""

    @abstractmethod
    def _out_activation(self, outs: int) -> str:
        """scikit-learn's name for what makes predictions of so many outputs."""

    @abstractmethod
    def _labels(self, targets: Array) -> Any:
        """The targets as users know them."""

    @abstractmethod
    def _score_of(self, net: Trainee, held_out: Sample) -> float:
        """The default score of a network on held-out samples."""

    def _outs(self, targets: Array) -> int:
        """How many outputs the network has."""
        return targets.shape[1]

    def _check_loss(self, outs: int) -> None:
        """Raise an error if the loss is not one for such targets."""

    def _meet(self, y: Any, incremental: bool) -> None:
        """Learn the classes from y, or see that they are those of before."""

    def _network_targets(self, targets: Array) -> Array:
        """The targets as the network's loss takes them."""
        return targets

    def _stratified(self, targets: Array) -> Array | None:
        """By what a random hold-out is stratified."""
        return None

    def _all_weights(self, targets: Array, sample_weight: Array | None) -> Array | None:
        """The weights of the samples, with those of classes."""
        return sample_weight

    # --- fit -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _all_or_nothing(self, one_epoch: bool = False) -> Iterator[None]:
        """A fit that leaves the estimator as it is, if it fails; one of `one_epoch` gives weights back by itself.

        A first one that a callback ends by an error, such as `OptunaPruning`, keeps what was learnt.
        """
        before = vars(self).copy()
        networks: Sequence[NeuralNetwork] = before.get("networks_", ()) if self.warm_start or one_epoch else ()
        back = None
        if (standing := before.get("_standing")) is not None:
            by_itself = one_epoch and self.callbacks is None and not standing.changed(self, OF_STEPS)
            back = standing.bookmark(() if by_itself else networks)
        try:
            yield
        except BaseException:
            courses = self._standing.courses if "_standing" in vars(self) else []
            if "coefs_" not in before and any(course.losses and np.isfinite(course.losses[-1]) for course in courses):
                self._take_over(courses[0], bool(courses[0].scores))
                raise
            self.__dict__.clear()
            self.__dict__.update(before)
            if back is not None:
                back()
            raise

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: Any = None,
        validation_groups: Any = None,
        incremental: bool = False,
    ) -> Any:
        """`fit`, or as `incremental` one epoch of `partial_fit`."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if validation_groups is not None and not self.early_stopping:
            raise ValueError("validation_groups is given but early_stopping is False; expected early_stopping=True")
        if validation_groups is not None and validation_data is not None:
            raise ValueError(
                "validation_groups is given with validation_data, which needs no split; expected one of them"
            )
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if incremental and not first:  # scikit-learn checks them in a first call alone
            self._check_parameters()
        sizes = building.hidden_sizes(self.hidden_layer_sizes)
        if not has_epochs(self) and any(self._between(len(sizes))[1]):
            raise ValueError(
                f"dropout is {self.dropout!r} with solver='lbfgs', which needs one loss for the same weights; expected "
                "0, or another solver"
            )
        X, targets = self._learn(X, y, first, incremental)
        if sample_weight is not None:
            sample_weight = checked_weights(sample_weight, len(targets))
        weights = self._all_weights(targets, sample_weight)
        if weights is not None and weights is not sample_weight:
            source = "class_weight" if sample_weight is None else "class_weight times sample_weight"
            weights = checked_weights(weights, len(targets), source)
        sample = Sample(X, targets, weights)
        data = None if validation_data is None else self._given_to_score(validation_data, targets.shape[1])
        if first or not incremental or not isinstance(self.random_state, Integral):
            self._random_state: Any = check_random_state(self.random_state)
        else:
            self._random_state = None  # a new one takes longer than a small step: `_seed` knows what it would say
        fitting = current()
        goes_on = fitting is not None and fitting.past is not None  # with more epochs, and all else as it was
        if first and not goes_on:
            self._begin(sizes, sample)
        elif not goes_on:
            self._take_up(sizes, sample, "clone(estimator)" if incremental else "warm_start=False")
        networks = self._current_networks()
        if not goes_on:
            self._standing.take_up_steps(networks, self, incremental)
        with at_most_threads(None if self.n_jobs is None else effective_n_jobs(self.n_jobs)):
            if has_epochs(self):
                train, held_out = self._hold_out(sample, data, validation_groups)
                self._fit_epochs(networks, train, held_out, incremental)
            else:
                given = {"callbacks": self.callbacks, "validation_data": validation_data}
                if idle := " and ".join(name for name, value in given.items() if value is not None):
                    warnings.warn(
                        f"{idle} given with solver='lbfgs', which has no epochs: of no effect; expected another solver",
                        UserWarning,
                        stacklevel=4,
                    )
                self._fit_lbfgs(networks, sample)
        return self

    def _learn(self, X: Any, y: Any, first: bool, incremental: bool) -> tuple[Any, Array]:
        """X and the targets, checked; features and classes are noted, or compared with those of before."""

        def learn() -> tuple[Any, Array, dict[str, Any]]:
            known = set(vars(self))
            rows, labels = self._checked(X, y, first)
            self._meet(labels, incremental)
            targets = self._targets(labels)
            return rows, targets, {name: value for name, value in vars(self).items() if name not in known}

        if not first:
            return learn()[:2]
        rows, targets, learnt = once(("samples", type(self)), (X, y), learn)
        self.__dict__.update(learnt)
        return rows, targets

    def _checked(self, X: Any, y: Any, first: bool) -> tuple[Any, Any]:
        """X and y, both checked; the features of X are noted where the fit is the `first`, else compared."""
        check_in_memory(X, type(self).__name__)
        _refuse_masked(X, "X")
        _refuse_masked(y, "y")
        X, y = validate_data(
            self, X=X, y=y, accept_sparse="csr", multi_output=True, y_numeric=is_regressor(self),
            dtype=(np.float64, np.float32), reset=first,
        )  # fmt: skip
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _begin(self, sizes: list[int], sample: Sample) -> None:
        """New networks with new weights, and no past."""
        outs = self._outs(sample.targets)
        self._check_loss(outs)
        dtype = np.dtype(sample.X.dtype if self.dtype is None else self.dtype)
        activations, rates = self._between(len(sizes))
        shape = [sample.X.shape[1], *sizes, outs]
        networks = []
        for _ in range(self.n_networks):
            net = building.make_network(shape, activations, rates, self._loss(outs), dtype)
            building.draw_weights(net, self._random_state)
            networks.append(net)
            activations = copy.deepcopy(activations)
        self.n_outputs_, self.n_layers_, self.out_activation_ = outs, len(shape), self._out_activation(outs)
        self._standing = Standing(self)
        self._show(networks)

    def _between(self, count: int) -> tuple[list[ActivationFunction], list[float]]:
        """Of each of so many hidden layers the activation, and the rate of dropout after it."""
        return building.hidden_activations(self.activation, count), building.dropout_rates(self.dropout, count)

    def _take_up(self, sizes: list[int], sample: Sample, anew: str) -> None:
        """Have the networks of before as the parameters are now; `anew` says how to begin anew.

        Raises
        ------
        ValueError
            If those have other weights.
        """
        networks, outs = self._current_networks(), self._outs(sample.targets)
        for net in networks:
            building.check_weights(net)
        check_weights_kept(networks, self, sizes, outs, anew)
        if not self._standing.changed(self, OF_NETWORK):
            return
        self._check_loss(outs)
        restructured = []
        for net in networks:
            dtype = np.dtype(net.dtype if self.dtype is None else self.dtype)
            restructured.append(building.restructured(net, *self._between(len(sizes)), self._loss(outs), dtype))
        self._standing.follow(networks[0], restructured[0])
        self.out_activation_ = self._out_activation(outs)
        self._show(restructured)

    def _show(self, networks: list[NeuralNetwork]) -> None:
        self.networks_ = networks
        self.coefs_, self.intercepts_ = building.show_weights(networks[0])
        self._shown = [*self.coefs_, *self.intercepts_]

    def _current_networks(self) -> list[NeuralNetwork]:
        """The networks, the first with the weights that `coefs_` and `intercepts_` have by now."""
        if not hasattr(self, "networks_"):
            self._build_around_weights()
        given = [*self.coefs_, *self.intercepts_]
        if len(given) != len(self._shown) or any(a is not b for a, b in zip(given, self._shown)):
            building.set_weights(self.networks_[0], self.coefs_, self.intercepts_)
            self._show(self.networks_)
        return self.networks_

    def _build_around_weights(self) -> None:
        """A network for weights that were set without a fit."""
        shape = [len(self.coefs_[0]), *(np.shape(b)[0] for b in self.intercepts_)]
        count = len(shape) - 2
        dtype = np.dtype(np.asarray(self.coefs_[0]).dtype if self.dtype is None else self.dtype)
        self.networks_ = [building.make_network(shape, *self._between(count), self._loss(shape[-1]), dtype)]
        self._shown, self._standing = [], Standing(self)

    def _given_to_score(self, data: Any, columns: int) -> Sample:
        """The samples of `validation_data`, whose targets have so many columns.

        Raises
        ------
        ValueError, TypeError
            If they are none; it says of what.
        """
        check_in_memory(data, type(self).__name__, "validation_data")
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            what = f"{len(data)} parts" if isinstance(data, (tuple, list)) else f"{type(data).__name__}"
            raise ValueError(f"validation_data is {what}; expected (X, y) or (X, y, sample_weight)")
        X, y, weight = (*data, None)[:3]
        try:
            X, y = self._checked(X, y, False)
            targets = self._targets(y)
            if targets.shape[1] != columns:
                raise ValueError(f"y has {targets.shape[1]} columns; expected {columns}, as in training")
            sample = Sample(X, targets, None if weight is None else checked_weights(weight, len(targets)))
        except TypeError as error:
            raise TypeError(f"validation_data: {error}") from error
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error
        return sample

    def _hold_out(self, sample: Sample, data: Sample | None, groups: Any) -> tuple[Sample, Sample | None]:
        """The samples to learn from, and those to score on, if any."""
        if data is not None:
            return sample, data
        if not self.early_stopping:
            return sample, None
        stratify = self._stratified(sample.targets) if groups is None else None
        groups = None if groups is None else checked_groups(groups, sample.size)
        return split(sample, self.validation_fraction, self._random_state, stratify, groups)

    def _fit_epochs(
        self, networks: list[NeuralNetwork], train: Sample, held_out: Sample | None, incremental: bool
    ) -> None:
        fitting = current()
        past = None if fitting is None else fitting.past
        batch_size, others = self._batch_size(train.size), callback_list(self.callbacks)
        if len(networks) > 1:
            check_places(others, f"{len(networks)} networks", "an estimator of one network, n_networks=1, for a {}")
        validation = None
        if others and held_out is not None:
            validation = (held_out.X, self._network_targets(held_out.targets), held_out.weight)
        # Where all batches weigh the same, the penalty is the same part of each before and after the fit, and not set
        # anew for one small step after another
        even = train.weight is None and train.size % batch_size == 0
        settings = Settings(
            epochs=1 if incremental else self.max_iter,
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            sample_weight=train.weight,
            validation_data=validation,
            seed=self._seed() if past is None else past.seed,
            equal_batches=False,
            averaged=not even,
            verbose=0,
        )
        score = None if held_out is None else self._scorer(held_out)
        rules = [StoppingRule(course, self._rules(), train.size, score) for course in self._standing.courses]
        after = self.alpha / batch_size
        targets = self._network_targets(train.targets)
        with penalty(networks, after if even else self.alpha, after):
            endings, diverged = descend(
                networks, train, targets, settings, rules, others, held_out is None, self.n_jobs
            )
        self._standing.courses = [rule.course for rule in rules]  # workers of joblib send others home
        if fitting is not None and (diverged or others or held_out is not None):
            fitting.past = None  # callbacks, the best weights: there is more to such a fit than its epochs
        for rule in rules:
            rule.end()
        self._take_over(self._standing.courses[0], held_out is not None)
        if diverged and not self.early_stopping:
            raise ValueError(NOT_FINITE)
        if diverged:
            warnings.warn(
                f"Stochastic Optimizer: after {self.n_iter_} epochs the weights did not stay finite; those of the best "
                "validation score are kept. Scale the data, or take a smaller learning_rate_init.",
                ConvergenceWarning,
                stacklevel=5,
            )
        if any(ending.startswith("interrupted") for ending in endings):
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif "" in endings and not incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _fit_lbfgs(self, networks: list[NeuralNetwork], sample: Sample) -> None:
        endings = lbfgs(self, networks, sample, self._network_targets(sample.targets))
        if any(ending.stopped.startswith("interrupted") for ending in endings):
            raise KeyboardInterrupt
        self.n_iter_, _, self.loss_ = endings[0]
        self.t_ = self._standing.courses[0].samples
        for iterations, stopped, _ in endings:
            if stopped != "converged":
                warnings.warn(
                    f"lbfgs failed to converge after {iterations} iteration(s): "
                    f"{stopped or 'the limit of iterations or function calls is reached'}. Increase max_iter "
                    f"({self.max_iter}) or max_fun ({self.max_fun}), or scale the data.",
                    ConvergenceWarning,
                    stacklevel=5,
                )

    def _seed(self) -> int:
        """The seed of the orders of a fit."""
        if self._random_state is None:
            return _first_draw(int(self.random_state))
        return int(self._random_state.randint(LARGEST_SEED))

    def _batch_size(self, count: int) -> int:
        if self.batch_size == "auto":
            return min(200, count)
        if self.batch_size > count:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
            )
        return int(min(self.batch_size, count))

    def _rules(self) -> Rules:
        of_adam = isinstance(self.solver, str) and self.solver == "adam"
        return Rules(
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            learning_rate="constant" if of_adam else self.learning_rate,
            learning_rate_init=0.0 if isinstance(self.learning_rate_init, Schedule) else self.learning_rate_init,
            power_t=self.power_t,
            verbose=bool(self.verbose),
        )

    def _scorer(self, held_out: Sample) -> Callable[[Trainee], float]:
        """The score of a network on held-out samples: the default, or what `scoring` says."""
        if self.scoring is None:
            return functools.partial(self._score_of, held_out=held_out)
        scorer = get_scorer(self.scoring)
        labels = self._labels(held_out.targets)
        weight: dict[str, Any] = {}
        if held_out.weight is not None and _takes_weights(scorer):
            weight = {"sample_weight": held_out.weight}
        other = type(self).__new__(type(self))  # an estimator of one network, whichever is asked about

        def score(net: Trainee) -> float:
            other.__dict__.update(self.__dict__)
            other.__dict__.pop("feature_names_in_", None)  # what is held out is an array by now
            other._show([net])  # type: ignore[list-item]
            return float(scorer(other, held_out.X, labels, **weight))

        return score

    def _take_over(self, course: Course, scored: bool) -> None:
        """Show the course of the first network."""
        self.n_iter_, self.t_ = course.epochs, course.samples
        self.loss_curve_, self._no_improvement_count = course.losses, course.without_progress
        if course.losses:
            self.loss_ = course.losses[-1]
        self.best_loss_ = None if self.early_stopping else course.best_loss
        self.validation_scores_ = course.scores if scored else None
        self.best_validation_score_ = course.best_score if scored else None

    # --- after a fit -----------------------------------------------------------------------------

    @property
    def network_(self) -> NeuralNetwork:
        """The fitted network; of an ensemble the first."""
        return self.networks_[0]

    @property
    def _optimizer(self) -> Course:
        """What scikit-learn's own estimators have under this name: it says the learning rate."""
        return self._standing.courses[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    def _rows(self, X: Any) -> Any:
        """X, checked against the features of the fit."""
        check_is_fitted(self)
        check_in_memory(X, type(self).__name__)
        _refuse_masked(X, "X")
        return once(("rows", type(self)), (X,), lambda: validate_data(self, X=X, accept_sparse="csr", reset=False))

    def _weights_to_score(self, X: Any, weight: Any) -> Array | None:
        """The weights of samples to score on, checked."""
        return None if weight is None else checked_weights(weight, _num_samples(X))

    def _predictor(self, rows: Any) -> NeuralNetwork | NetworkBank:
        """What answers for all networks."""
        networks = self._current_networks()
        for net in networks:
            building.check_weights(net)
        return answering(networks, rows)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes; the weights are in the networks."""
        if "networks_" in vars(self):
            self._current_networks()
        state = super().__getstate__()
        hidden = ("coefs_", "intercepts_", "_shown") if "networks_" in state else ()
        return {name: value for name, value in state.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "networks_" in state:
            self._show(self.networks_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@functools.lru_cache(maxsize=64)
def _first_draw(seed: int) -> int:
    """The first seed that a new generator of `seed` says."""
    return int(np.random.RandomState(seed).randint(LARGEST_SEED))


def _refuse_masked(values: Any, name: str) -> None:
    """Raise ValueError if a masked array hides numbers, which scikit-learn's checks would bring to light."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked numbers; expected none: {name}.filled(...), or the rows without them")


def _takes_weights(scorer: Any) -> bool:
    """Whether it is a scorer of scikit-learn's, or a function that has a place for ``sample_weight``."""
    if not inspect.isfunction(scorer) and not inspect.ismethod(scorer):
        return True
    parameters = inspect.signature(scorer).parameters
    return "sample_weight" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def has_epochs(estimator: BaseMLP) -> bool:
    """Whether its solver goes through samples epoch by epoch, as `partial_fit` does."""
    return not (isinstance(estimator.solver, str) and estimator.solver == "lbfgs")


def gives_probabilities(loss: LossFunction) -> bool:
    """Whether it implies a probability of each class."""
    return type(loss).probabilities is not LossFunction.probabilities
