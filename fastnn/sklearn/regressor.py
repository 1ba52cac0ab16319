"""The regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from ..checks import Array, flag
from ..formulas.losses import LogLinkLoss, LossFunction
from ..formulas.names import named
from ..training.callbacks import Trainee
from .base import BaseMLP, gives_probabilities, has_epochs
from .formulas import HalfSquaredLoss, PoissonDevianceLoss
from .held_out import Sample
from .parameters import OF_REGRESSOR
from .sparse import answering


class MLPRegressor(RegressorMixin, BaseMLP):
    """``sklearn.neural_network.MLPRegressor``, trained by fastnn.

    Parameters
    ----------
    loss : str or LossFunction, default "squared_error"
        "squared_error" is half of it, as scikit-learn's, "mse" the whole. With "poisson" predictions are exp(outputs),
        and y is at least 0. Others: "huber", "mae", the name of another loss of values, or an object
        (``HuberLoss(0.5)``, one of your own). Not those of classes ("bce"), nor one with outputs that predict no
        column of y ("gaussian_nll").
    hidden_layer_sizes : array-like of int, or int, default (100,)
        How many units each hidden layer has.
    activation : str, ActivationFunction, or list of one for each hidden layer, default "relu"
        "identity", "logistic", "tanh", "relu", the name of another activation of fastnn in small letters ("gelu"),
        or an object (``LeakyReLU(0.2)``, one of your own).
    solver : str or Optimizer, default "adam"
        "adam", "sgd", "lbfgs", the name of another optimiser of fastnn ("adamw"), or an object. "lbfgs" takes all
        samples at once, and needs no learning rate.
    alpha : float, default 0.0001
        Penalty: ``alpha / 2 * sum(W**2)``, divided by the weight of the samples of a batch, is added to its loss.
    batch_size : int or "auto", default "auto"
        Samples to a step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        How the learning rate changes, but for ``solver="adam"``: divided by ``samples_seen ** power_t`` after
        each epoch, or by 5 where patience ends (see `tol`).
    learning_rate_init : float or Schedule, default 0.001
        The first learning rate, or a schedule of fastnn.
    power_t : float, default 0.5
        See `learning_rate`.
    max_iter : int, default 200
        Epochs at most, or iterations of "lbfgs".
    shuffle : bool, default True
        Whether each epoch takes the samples in a new random order.
    random_state : int, RandomState or None, default None
        Of the first weights, which are the numbers that scikit-learn would draw, of the held-out samples and
        the orders.
    tol : float, default 1e-4
        A fit ends after more than `n_iter_no_change` epochs in a row whose loss (with `early_stopping` the score)
        was not better than the best by `tol`. For "lbfgs": no element of the gradient is larger.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether `fit` goes on from the weights of the fit before, with all other parameters as they are by then.
        Sizes and the number of networks cannot change.
    momentum : float, default 0.9
        Of "sgd".
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Whether to hold samples out, score the network on them after each epoch, stop where that does not get
        better, and keep the best weights.
    validation_fraction : float, default 0.1
        The part of the samples to hold out.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999 and 1e-8
        Of "adam".
    n_iter_no_change : int, default 10
        See `tol`.
    max_fun : int, default 15000
        How often "lbfgs" may ask for the loss.
    dropout : float, or list of one for each hidden layer, default 0.0
        The probability with which a unit of a hidden layer is left out of a step.
    scoring : str or callable, default None
        What held-out samples are judged by: a scorer of scikit-learn, or None for R2.
    callbacks : Callback or list, default None
        Callbacks of fastnn; where samples are held out, they find ``val_loss``.
    dtype : "float32" or "float64", default None
        Type of weights and arithmetic; None is that of X. float32 takes about half the time.
    n_jobs : int or None, default None
        Threads at most, -1 for all cores; None is what `fastnn.get_num_threads` says. Results do not depend on it.
    n_networks : int, default 1
        How many networks to train side by side, from first weights and in orders of their own. Their
        predictions are averaged; ``predict(X, return_std=True)`` tells how far they are apart.

    Attributes
    ----------
    network_ : NeuralNetwork
        The network itself, of an ensemble the first; ``networks_`` holds all.
    coefs_, intercepts_ : lists of ndarray (ins, outs) and (outs,)
        Its weights and biases, layer by layer: views. Write into them, or put other arrays in their places; the next
        call refuses what does not fit or is not finite.
    loss_, loss_curve_ : float, and list of one an epoch
        The mean loss during the last epoch and during each, with the penalty.
    best_loss_ : float or None
        The least of them; None with `early_stopping`.
    validation_scores_, best_validation_score_ : list and float, or None
        Scores on held-out samples, where there are any.
    n_iter_, t_ : int
        Epochs of the last fit (iterations of "lbfgs"), and samples seen in all.
    n_layers_, n_outputs_ : int
    out_activation_ : str
    n_features_in_, feature_names_in_
        Features of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPRegressor
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(500, 1))
    >>> y = np.sin(2 * X[:, 0])
    >>> MLPRegressor(activation="tanh", solver="lbfgs", max_iter=500, random_state=0).fit(X, y).score(X, y) > 0.99
    True

    An ensemble, whose members differ where there are no data:

    >>> model = MLPRegressor(n_networks=5, max_iter=300, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> mean, std = model.predict([[0.5], [8.0]], return_std=True)
    >>> bool(std[1] > 3 * std[0])
    True
    """

    _parameter_constraints = OF_REGRESSOR

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: Any = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15_000,
        dropout: Any = 0.0,
        scoring: Any = None,
        callbacks: Any = None,
        dtype: Any = None,
        n_jobs: int | None = None,
        n_networks: int = 1,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.scoring = scoring
        self.callbacks = callbacks
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.n_networks = n_networks

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        validation_data: Any = None,
        validation_groups: Any = None,
    ) -> MLPRegressor:
        """Fit to X and y, anew unless `warm_start`.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            float32 makes a network of float32, all else one of float64, unless `dtype` says otherwise.
        y : array-like
            Values (n_samples,) or (n_samples, n_outputs).
        sample_weight : array-like (n_samples,), optional
            Weights of the samples' losses; the loss of a batch is their weighted average.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples to score on after each epoch, in the place of some that are held out.
        validation_groups : array-like (n_samples,), optional
            With `early_stopping`: samples of a group are held out together or not at all.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit, or the weights do not stay finite.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ended the fit.
        """
        with self._all_or_nothing():
            return self._fit(X, y, sample_weight, validation_data, validation_groups)

    @available_if(has_epochs)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MLPRegressor:
        """One epoch on X and y, after whatever came before.

        Parameters that have changed since hold for it, as with `warm_start`; the optimiser begins anew only if it is
        another.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`, and with `early_stopping`.
        """
        with self._all_or_nothing(one_epoch=True):
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The values for the rows of X.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        return_std : bool, default False
            Whether to return also the standard deviation over the networks of an ensemble.

        Returns
        -------
        ndarray (n_samples,) or (n_samples, n_outputs), or two of them

        Raises
        ------
        ValueError
            If `return_std` is asked of a single network.
        """
        rows = self._rows(X)
        predictor = self._predictor(rows)
        if flag(return_std, "return_std") and len(self.networks_) == 1:
            raise ValueError("return_std is True but n_networks is 1; expected an ensemble, such as n_networks=10")
        found = predictor.predict(rows)
        if found.ndim == 2:
            return _flat(found)
        mean = _flat(found.mean(axis=0))
        return (mean, _flat(found.std(axis=0))) if return_std else mean

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of `predict` for X, against y.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        """
        return super().score(X, y, self._weights_to_score(X, sample_weight))

    def _targets(self, y: Any) -> Array:
        return np.asarray(y).reshape(len(y), -1)

    def _loss(self, outs: int) -> LossFunction:
        if isinstance(self.loss, str) and self.loss in ("squared_error", "poisson"):
            return PoissonDevianceLoss(outs) if self.loss == "poisson" else HalfSquaredLoss(outs)
        return named(LossFunction, self.loss, "loss")

    def _check_loss(self, outs: int) -> None:
        loss = self._loss(outs)
        if loss.target == "class" or gives_probabilities(loss):
            what, who = "is one of classes", "MLPClassifier takes those of classes"
        elif not loss.standardizable:
            what = "has outputs that are no predictions, where MLPRegressor has one output for each column of y"
            who = "a NeuralNetwork takes it, and TabularRegressor(distribution='normal') has variances, too"
        else:
            return
        raise ValueError(
            f"loss is {self.loss!r}, which {what}; expected one of values, such as 'squared_error' or 'huber' ({who})"
        )

    def _out_activation(self, outs: int) -> str:
        return "exp" if isinstance(self._loss(1), LogLinkLoss) else "identity"

    def _labels(self, targets: Array) -> Any:
        return _flat(targets)

    def _score_of(self, net: Trainee, held_out: Sample) -> float:
        predictor = answering([net], held_out.X)  # type: ignore[list-item]
        found = predictor.predict(held_out.X).reshape(held_out.targets.shape)  # of a bank of one, (1, n, outs)
        if not np.isfinite(found).all():
            return float("nan")
        return float(r2_score(held_out.targets, found, sample_weight=held_out.weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The same, for scikit-learn before 1.6."""
        return {"multioutput": True}


def _flat(values: Array) -> Array:
    """Values of one output as (n,)."""
    return values[:, 0] if values.shape[1] == 1 else values
