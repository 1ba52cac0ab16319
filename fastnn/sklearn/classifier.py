"""The classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from ..checks import Array
from ..data.rows import balanced_weights
from ..formulas.losses import BCEWithLogitsLoss, CrossEntropyLoss, LossFunction
from ..formulas.names import named
from ..training.callbacks import Trainee
from .base import BaseMLP, gives_probabilities, has_epochs
from .formulas import LabelsLoss
from .held_out import Sample
from .parameters import OF_CLASSIFIER
from .sparse import answering


def _has_probabilities(estimator: MLPClassifier) -> bool:
    """Whether its loss, once fitted that of its network, gives any; AttributeError says that it does not."""
    if hasattr(estimator, "networks_"):
        loss: Any = estimator.network_.loss_function
    elif isinstance(estimator.loss, str) and estimator.loss == "log_loss":
        return True
    else:
        loss = named(LossFunction, estimator.loss, "loss")
    if not gives_probabilities(loss):
        raise AttributeError(
            f"loss is {estimator.loss!r}, which gives no probabilities; expected one such as 'log_loss' or 'focal'"
        )
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """``sklearn.neural_network.MLPClassifier``, trained by fastnn.

    Parameters
    ----------
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
    loss : str or LossFunction, default "log_loss"
        Or the name of a loss of fastnn, or an object, such as ``CrossEntropyLoss(label_smoothing=0.1)``. One that
        takes the numbers of classes, or their probabilities, has an output for each of two classes, too; others have
        one. With one that implies no probabilities ("mse") there is no `predict_proba`. Not those whose outputs are
        logarithms ("poisson").
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, by which those of the samples are multiplied; "balanced" goes by how often each
        occurs in the call.
    dropout : float, or list of one for each hidden layer, default 0.0
        The probability with which a unit of a hidden layer is left out of a step.
    scoring : str or callable, default None
        What held-out samples are judged by: a scorer of scikit-learn, or None for accuracy.
    callbacks : Callback or list, default None
        Callbacks of fastnn; where samples are held out, they find ``val_loss``.
    dtype : "float32" or "float64", default None
        Type of weights and arithmetic; None is that of X. float32 takes about half the time.
    n_jobs : int or None, default None
        Threads at most, -1 for all cores; None is what `fastnn.get_num_threads` says. Results do not depend on it.
    n_networks : int, default 1
        How many networks to train side by side, from first weights and in orders of their own. Their
        probabilities are averaged.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
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

    Notes
    -----
    Two classes have one output, with binary cross-entropy; more have softmax; many labels (y of 0 and 1, one
    column a label) one output each.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=0)).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> model[-1].network_.layers
    [Layer(4, 100, ReLU()), Layer(100, 3, Identity())]
    """

    _parameter_constraints = OF_CLASSIFIER

    def __init__(
        self,
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
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: Any = 0.0,
        scoring: Any = None,
        callbacks: Any = None,
        dtype: Any = None,
        n_jobs: int | None = None,
        n_networks: int = 1,
    ) -> None:
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
        self.loss = loss
        self.class_weight = class_weight
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
    ) -> MLPClassifier:
        """Fit to X and y, anew unless `warm_start`.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            float32 makes a network of float32, all else one of float64, unless `dtype` says otherwise.
        y : array-like
            Labels (n_samples,), strings or numbers, or 0 and 1 (n_samples, n_labels).
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
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch on X and y, after whatever came before.

        Parameters that have changed since hold for it, as with `warm_start`; the optimiser begins anew only if it is
        another.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like (n_classes,), optional
            All labels that there will be; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`, and with `early_stopping`.
        """
        with self._all_or_nothing(one_epoch=True):
            if _check_partial_fit_first_call(self, classes):
                several = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if several else classes)
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """The class of each row of X, or 0 and 1 for each label.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples,) or (n_samples, n_labels), or a sparse matrix of these if that was the y of the fit
        """
        rows = self._rows(X)
        found = self._predictor(rows).predict_classes(rows)
        if self._several:
            return self._label_binarizer.inverse_transform(found)  # sparse, if y was
        return np.take(self.classes_, found, mode="clip")

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, in the order of `classes_`, or of each label.

        There is no such method where the loss implies none, such as the squared error.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_classes) or (n_samples, n_labels)
        """
        rows = self._rows(X)
        return self._predictor(rows).predict_proba(rows)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy (of many labels, how often all are right) of `predict` for X, against y.

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

    @property
    def _several(self) -> bool:
        """Whether y holds many labels."""
        return str(self._label_binarizer.y_type_).startswith("multilabel")

    def _meet(self, y: Any, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(classes := unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )

    def _targets(self, y: Any) -> Array:
        if self._several:
            self._refuse_others(y)
            return np.asarray(self._label_binarizer.transform(y), bool)
        if np.ndim(y) == 2:
            raise ValueError(f"y has shape {y.shape}; expected one label for each sample, as before, shape ({len(y)},)")
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if np.any(self.classes_[codes] != y):
            self._refuse_others(y)
        return codes.reshape(-1, 1) if len(self.classes_) > 2 else codes.reshape(-1, 1).astype(bool)

    def _refuse_others(self, y: Any) -> None:
        """See that y has no classes but those of before."""
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _outs(self, targets: Array) -> int:
        if self._several:
            return targets.shape[1]
        loss = self._loss(1)
        of_all = loss.target == "class" or (loss.domain is not None and loss.domain.adds_up)
        return max(2, len(self.classes_)) if len(self.classes_) > 2 or of_all else 1

    def _check_loss(self, outs: int) -> None:
        loss = self._loss(outs)
        of_labels = loss.classes(np.zeros((1, outs))).ndim == 2
        if not loss.standardizable or type(loss).predictions is not LossFunction.predictions:
            raise ValueError(
                f"loss is {self.loss!r}, whose outputs are on no scale of classes, but of logarithms; expected a loss "
                "such as 'log_loss' or 'focal' (MLPRegressor takes those of values)"
            )
        if outs > 1 and of_labels != self._several:
            if of_labels:
                what, have = "takes each output for a label apart", f"{outs} classes, of which a sample has one"
                wanted = "'log_loss', CrossEntropyLoss(label_smoothing=0.1)"
            else:
                what, have = "says one class of a sample", f"{outs} labels, of which a sample may have many"
                wanted = "'log_loss', 'bce'"
            raise ValueError(f"loss is {self.loss!r}, which {what}, but y has {have}; expected a loss such as {wanted}")

    def _loss(self, outs: int) -> LossFunction:
        if not isinstance(self.loss, str) or self.loss != "log_loss":
            return named(LossFunction, self.loss, "loss")
        if outs == 1:
            return BCEWithLogitsLoss()
        return LabelsLoss(outs) if self._several else CrossEntropyLoss()

    def _out_activation(self, outs: int) -> str:
        if not gives_probabilities(self._loss(outs)):
            return "identity"
        return "softmax" if outs > 1 and not self._several else "logistic"

    def _network_targets(self, targets: Array) -> Array:
        if self._several or self._outs(targets) == 1:
            return targets.astype(float)
        codes = targets[:, 0].astype(np.int64)
        if self._loss(len(self.classes_)).target in ("class", None):
            return codes
        return np.eye(self._outs(targets))[codes]

    def _stratified(self, targets: Array) -> Array | None:
        return targets if len(self.classes_) <= 2 and not self._several else None

    def _labels(self, targets: Array) -> Any:
        if self._several:
            return targets.astype(int)
        return self.classes_[targets[:, 0].astype(int)]

    def _all_weights(self, targets: Array, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if self.class_weight == "balanced" and not self._several:  # by weight, so that 0 is as good as not there
            codes = targets[:, 0].astype(int)
            by_class = balanced_weights(np.bincount(codes, sample_weight))
            weight = np.array([by_class.get(code, 0.0) for code in codes.tolist()])
        else:
            weight = compute_sample_weight(self.class_weight, self._labels(targets))
        return np.asarray(weight if sample_weight is None else weight * sample_weight)

    def _score_of(self, net: Trainee, held_out: Sample) -> float:
        found = answering([net], held_out.X).predict_classes(held_out.X)  # type: ignore[list-item]
        if not self._several:
            found = np.minimum(found, len(self.classes_) - 1)  # of one class there is one output, too
        right = found == (held_out.targets if self._several else held_out.targets[:, 0])
        return float(np.average(right.reshape(len(right), -1).all(axis=1), weights=held_out.weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The same, for scikit-learn before 1.6."""
        return {"multilabel": True}
