"""What both estimators do: read a table, hold rows out, train, and keep what was learnt."""

from __future__ import annotations

import functools
import math
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import saving
from ..checks import Array, count as counting, fraction, optional, positive_integer, positive_number, shown
from ..data.rows import sample_weights
from ..engine.threads import at_most_threads
from ..files import Path
from ..formulas.activations import ActivationFunction
from ..formulas.losses import LossFunction, MSELoss
from ..formulas.schedules import LogCosine
from ..layers.embedding import Embedding
from ..network import NeuralNetwork
from ..training.callbacks import Callback, Trainee
from ..training.epochs import fit
from ..training.guard import DivergedError
from ..training.history import History
from ..training.many import fit_many
from ..training.settings import Settings, callback_list
from ..words import listed, many
from .answer import Answer
from .learnt import Learnt
from .parts import as_many_as, counted, of_mean_one, parted
from .preprocessor import Preprocessor, tags_of_tables
from .recipe import Deadline, LastBest, Shape, batches, first_scales, make_network
from .table import Table, in_another_order, index_of, is_missing, rows_said

E = TypeVar("E", bound="BaseTabular")
MEASURED = 1024  # rows at most, on which the importances of inputs are measured
AT_ONCE = 128  # of them, so that their gradients take little memory


class Rows(NamedTuple):
    """Some rows of a fit: numbers, the network's targets, and the weights of the losses, if they differ."""

    X: Array
    targets: Array
    weight: Array | None


class Targets(NamedTuple):
    """What y says: the number of each row's class, and the classes; or values (n, outputs)."""

    values: Array
    classes: Array | None = None


class BaseTabular(BaseEstimator, ABC):
    """Base of the two estimators; each says what its targets, its loss and its predictions are."""

    _rate: float  # the recipe's
    _learnt: Learnt

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256, 256),
        *,
        epochs: int = 256,
        batch_size: int = 256,
        learning_rate: float | None = None,
        validation_fraction: float = 0.2,
        n_networks: int = 1,
        time_limit: float | None = None,
        max_one_hot: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        callbacks: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.n_networks = n_networks
        self.time_limit = time_limit
        self.max_one_hot = max_one_hot
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    # --- what a kind of estimator says ---------------------------------------------------------

    @abstractmethod
    def _read_targets(self, y: Any, count: int) -> Targets:
        """What y says of each row, checked."""

    @abstractmethod
    def _start(self, y: Targets, rows: Array) -> dict[str, Any]:
        """What is learnt of y, of which `rows` are trained on, before the networks: see `Learnt.more`."""

    @abstractmethod
    def _network_targets(self, y: Array, more: dict[str, Any]) -> Array:
        """The targets as the network's loss takes them."""

    @abstractmethod
    def _loss(self) -> LossFunction:
        """The loss of the networks."""

    @abstractmethod
    def _activation(self) -> ActivationFunction:
        """Of the hidden layers."""

    @abstractmethod
    def _outs(self, more: dict[str, Any]) -> int:
        """How many outputs the networks have."""

    @abstractmethod
    def _error(self, net: Trainee, held_out: Rows) -> float:
        """By which the best epoch is known."""

    @abstractmethod
    def _finish(self, learnt: Learnt, held_out: Rows, y: Array, count: float) -> None:
        """Learn what is learnt from the held-out rows, as good as `count` ones, whose targets are y."""

    @abstractmethod
    def _show(self, learnt: Learnt) -> None:
        """Set the attributes of the kind."""

    @abstractmethod
    def _answer(self, learnt: Learnt) -> Answer:
        """What `predict` makes of the networks' outputs, for exports."""

    def _weights(self, y: Targets, used: Array, sample_weight: Array | None) -> Array | None:
        """The weights of the samples, with those of classes; `used` rows count, each as often as it is there."""
        return sample_weight

    # --- fit -------------------------------------------------------------------------------------

    def _fit(self: E, X: Any, y: Any, sample_weight: Any) -> E:
        started = time.monotonic()
        self._check_parameters()
        table = Table(X)
        count = table.shape[0]
        for name, other in (("y", y), ("sample_weight", sample_weight)):
            if in_another_order(index_of(X), index_of(other)):
                warnings.warn(
                    f"{name} has the labels of X's rows in another order; rows are taken by place, as they come: "
                    f"{name}.loc[X.index] is in the order of X",
                    UserWarning,
                    stacklevel=3,
                )
        given = None if sample_weight is None else sample_weights(_array(sample_weight), None, None, count)
        if given is not None and not given.any():
            raise ValueError("sample_weight is zero for all samples, so that none counts; expected some above 0")
        target, target_given = self._read_targets(y, count), y
        y = target.values
        rng = check_random_state(self.random_state)
        seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=self.n_networks + 2)]
        rows = counted(table, y, given)
        parts = parted(rows, self.validation_fraction, seeds[-1], y if target.classes is not None else None)
        train, held = parts.train, parts.held
        if target.classes is not None and (lost := np.setdiff1d(y[held], y[train])).size:
            warnings.warn(
                f"y has {listed(target.classes[lost].tolist(), 'class', 'classes')} in held-out rows alone, and "
                "nothing is learnt of that; give more rows, or a smaller validation_fraction",
                UserWarning,
                stacklevel=3,
            )
        more = self._start(target, train)
        preprocessor = Preprocessor(max_one_hot=self.max_one_hot).fit_table(table, train)
        if preprocessor.width == 0:
            raise ValueError("X has no value in any column; expected a column at least with some")
        weight = self._weights(target, rows.rows, rows.weight)
        if weight is not None and weight[rows.rows].any():
            weight = of_mean_one(weight, rows.rows)
        sides = [self._side(some, table, preprocessor, y, weight, more) for some in (train, held)]
        if sides[0] is None:
            raise ValueError("the weights of the samples and classes are 0 for all rows to train on; expected some")
        if sides[1] is None and held.size:
            raise ValueError(
                f"the weights of the samples and classes are 0 for all of the {many(held.size, 'row')} that "
                f"validation_fraction={self.validation_fraction:g} holds out; expected some, or validation_fraction=0"
            )
        shape = Shape(
            preprocessor.width, preprocessor.many_categories_, sizes(self.hidden_layer_sizes), self._activation(),
            self._outs(more), first_scales(preprocessor.spans(), sides[0].X.mean(axis=0)),
        )  # fmt: skip
        networks, histories, errors = self._train(shape, (sides[0], sides[1]), more, seeds, started)
        more["target"] = name_of(target_given)
        learnt = Learnt(preprocessor, networks, more)
        measured = sides[1] or sides[0]
        more["importances"] = importances(learnt, measured.X, seeds[-2]).tolist()
        if sides[1] is not None:
            self._finish(learnt, sides[1], y[held], as_many_as(parts.originals, sides[1].weight))
        self._keep(learnt)
        unseen = len(histories[0].epoch) - len(errors) if errors else 0  # Ctrl-C came before it was measured
        self.history_, self.validation_errors_ = histories[0], [*errors, *[math.nan] * unseen]
        self.interrupted_ = any(history.stopped.startswith("interrupted") for history in histories)
        if self.interrupted_:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        self.validation_rows_ = np.unique(held)
        return self

    def _side(
        self,
        rows: Array,
        table: Table,
        preprocessor: Preprocessor,
        y: Array,
        weight: Array | None,
        more: dict[str, Any],
    ) -> Rows | None:
        """These rows as numbers, or None where none of them counts."""
        some = None if weight is None else weight[rows]
        if len(rows) == 0 or (some is not None and not some.any()):
            return None
        targets = self._network_targets(y[rows], more)
        return Rows(preprocessor.matrix(table, list(range(table.shape[1])), rows), targets, some)

    def _check_parameters(self) -> None:
        """See that the parameters are what they may be, before anything changes."""
        sizes(self.hidden_layer_sizes)
        for name in ("epochs", "batch_size", "n_networks", "max_one_hot"):
            positive_integer(getattr(self, name), name)
        for name in ("learning_rate", "time_limit"):
            optional(positive_number)(getattr(self, name), name)
        fraction(self.validation_fraction, "validation_fraction")
        counting(int(self.verbose) if isinstance(self.verbose, (bool, np.bool_)) else self.verbose, "verbose")
        callback_list(self.callbacks)

    def _train(
        self,
        shape: Shape,
        sides: tuple[Rows, Rows | None],
        more: dict[str, Any],
        seeds: list[int],
        started: float,
    ) -> tuple[list[NeuralNetwork], list[History], list[float]]:
        """New networks, trained; their histories, and of the first the error after each epoch."""
        train, held_out = sides
        steps, size = batches(len(train.X), self.batch_size)
        rate = self._rate if self.learning_rate is None else self.learning_rate
        networks: list[NeuralNetwork] = []
        bests: list[LastBest | None] = []
        for k in range(self.n_networks):
            networks.append(make_network(shape, self._loss(), LogCosine(rate, steps * self.epochs), seeds[k]))
            error = None if held_out is None else functools.partial(self._error, held_out=held_out)
            bests.append(None if error is None else LastBest(error))
        others = callback_list(self.callbacks)
        if self.time_limit is not None:
            others.append(Deadline(started + self.time_limit, self.time_limit))
        settings = Settings(
            epochs=self.epochs,
            batch_size=size,
            sample_weight=train.weight,
            validation_data=held_out if callback_list(self.callbacks) and held_out is not None else None,
            seed=seeds[0],
            verbose=int(self.verbose),
        )

        def callbacks(k: int) -> list[Callback]:
            best = bests[k]
            return [*([] if best is None else [best]), *others]

        with at_most_threads(None if self.n_jobs is None else effective_n_jobs(self.n_jobs)):
            histories, diverged = _run(networks, train, settings, callbacks)
        for net, best in zip(networks, bests):
            good = all(np.isfinite(array).all() for layer in net.get_weights() for array in layer)
            if not good or (diverged and (best is None or best.best_epoch == 0)):
                raise ValueError(
                    f"training left the finite numbers; a learning_rate smaller than {rate:g} may help, or fewer huge "
                    "targets"
                )
        more["n_iter"] = len(histories[0].epoch)
        first = bests[0]
        more["best_epoch"] = more["n_iter"] if first is None else first.best_epoch
        return networks, histories, [] if first is None else first.errors

    def _keep(self, learnt: Learnt) -> None:
        """Be fitted with this."""
        self._learnt = learnt
        self.preprocessor_, self.networks_ = learnt.preprocessor, learnt.networks
        self.network_ = learnt.networks[0]
        self.n_features_in_ = learnt.preprocessor.n_features_in_
        if hasattr(learnt.preprocessor, "feature_names_in_"):
            self.feature_names_in_ = learnt.preprocessor.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.target_name_ = name_of(learnt.more.get("target"))
        self.n_iter_, self.best_epoch_ = learnt.more["n_iter"], learnt.more["best_epoch"]
        self.feature_importances_ = np.array(learnt.more["importances"])
        self._show(learnt)

    # --- after a fit -----------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learnt")

    def _outputs(self, X: Any) -> Array:
        """The outputs of each network for a table, (networks, n, outs)."""
        if "_learnt" not in vars(self):  # which takes less time than the question of scikit-learn
            check_is_fitted(self)
        learnt = self._learnt
        rows = learnt.preprocessor.numbers(X)
        return self.network_.predict(rows)[None] if len(learnt.networks) == 1 else learnt.outputs(rows)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the networks' inputs: see `Preprocessor.get_feature_names_out`."""
        check_is_fitted(self)
        return self._learnt.preprocessor.get_feature_names_out(input_features)

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file: networks, preprocessing and all else, without pickle.

        Parameters
        ----------
        path : str or path-like
            As for `fastnn.NeuralNetwork.save`.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        TypeError
            If the classes are neither numbers nor texts.
        OSError, ValueError
            If `path` is no place for a file, or a parameter, set after `fit`, is none.
        """
        check_is_fitted(self)
        self._check_parameters()
        self._learnt.save(path, type(self).__name__, _plain_parameters(self.get_params(deep=False)))

    def to_onnx(self, path: Path) -> None:
        """Write the model, preprocessing included, as an ONNX file of opset 20 (needs onnx).

        The graph has an input (n, 1) for each column, by its name (``x0``, ``x1`` and on, if `fit` was given an array):
        texts and categories are strings, of which those that training did not see, such as ``""``, are taken as
        missing ones; all others are float64, NaN where one is missing, bools 1 and 0, dates days since 1970 in UTC and
        durations days. The first output, ``predictions``, is what `predict` gives, (n,) for one target; of a
        classifier the second, ``probabilities``, is float64 (n, n_classes), as of `predict_proba`.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.onnx``. A file that is there is replaced as a whole, as by `save`.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ImportError
            If onnx is not installed.
        ValueError, OSError
            If a column has the name ``""``, the model is larger than 2 GB, or `path` is no place for a file.
        """
        check_is_fitted(self)
        from .onnx import to_onnx

        learnt = self._learnt
        to_onnx(learnt.preprocessor, learnt.networks, self._answer(learnt), path)

    def to_c(self, path: Path, name: str = "model", dtype: str = "float32", calibration: Any = None) -> None:
        """Write the model, the scaling of columns included, as one C99 file and its header, for a small device.

        They are as those of `fastnn.NeuralNetwork.to_c`. A row is ``const double x[]``, a number for each column: NAN
        where one is missing, bools 1 and 0, dates days since 1970 in UTC, durations days; of a text or a category its
        place among those of training, or -1. A comment lists all of them. Of a regressor there is ``void
        model_predict(x, double y[])``; of a classifier ``int model_predict(x)``, the number of the class, ``void
        model_predict_proba(x, double p[])``, and ``model_classes``, their names.

        Parameters
        ----------
        path : str or path-like
            Of the C file, ending in ``.c``; the header beside it ends in ``.h``.
        name : str, default "model"
            With which all names begin.
        dtype : {"float32", "float64", "int8"}, default "float32"
            Of the networks. What becomes of columns, and of the networks' outputs, is computed in double.
        calibration : data frame or array_like
            For int8, a table such as the model will meet; the largest error of its predictions, or probabilities, is
            written into the file.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError, OSError
            If an argument does not fit, or `path` is no place for a file.
        """
        check_is_fitted(self)
        from .c import to_c

        learnt = self._learnt
        to_c(learnt.preprocessor, learnt.networks, self._answer(learnt), path, name, dtype, calibration)

    @classmethod
    def load(cls: type[E], path: str | os.PathLike[str]) -> E:
        """Read a model that `save` wrote. It gives the same bits as that one.

        Raises
        ------
        FileNotFoundError, OSError, ValueError
            If there is no such file, or it is damaged, or of another kind. A file from a stranger can do no more than
            fail to load.
        """
        learnt, parameters = Learnt.load(path, cls.__name__)
        with saving.clear_errors(path):
            self = cls()
            self.set_params(**_restored_parameters(parameters, self.get_params(deep=False)))
            self._check_parameters()
            self._keep(learnt)
        return self

    def __sklearn_tags__(self) -> Any:
        return tags_of_tables(super().__sklearn_tags__())


def _run(networks: list[NeuralNetwork], train: Rows, settings: Settings, callbacks: Any) -> tuple[list[History], bool]:
    """Train the networks; returns their histories, and whether one diverged."""
    if len(networks) > 1:
        outcomes = fit_many(
            networks, train.X, train.targets, settings, callbacks=callbacks, bootstrap=False, seed=settings.seed,
            threads=None,
        )  # fmt: skip
        return [outcome.history for outcome in outcomes], any(outcome.diverged for outcome in outcomes)
    try:
        return [fit(networks[0], train.X, train.targets, replace(settings, callbacks=callbacks(0)))], False
    except DivergedError:
        return [History()], True


def importances(learnt: Learnt, X: Array, seed: int) -> Array:
    """How much the outputs change with each column of the table, of all columns 1 in sum.

    For each input the mean size of the gradient of an output (a random one for each row) times the standard deviation
    of the input; a column of the table has the sum over the inputs that it became.
    """
    rng = np.random.default_rng(seed)
    if len(X) > MEASURED:
        X = X[rng.choice(len(X), MEASURED, replace=False)]
    total = np.zeros(X.shape[1])
    for net in learnt.networks:
        outs, inputs, first = net.predict(X), X.T, 0
        if isinstance(net.layers[0], Embedding):
            inputs, first = net.layers[0].forward_pass(inputs), 1
        deviations = inputs.std(axis=1, dtype=np.float64)
        of_one = NeuralNetwork(net.layers, MSELoss(), 0.0)  # the same layers: its loss has the gradient that is wanted
        wanted = np.eye(outs.shape[1], dtype=np.float32)[rng.integers(outs.shape[1], size=len(X))]
        for start in range(0, len(X), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            dx = of_one.gradients(X[part].T, (outs - wanted)[part].T).dxs[first]  # of the mean over the part
            total += len(X[part]) * np.abs(dx, dtype=np.float64).sum(axis=1) * deviations
    summed = learnt.preprocessor.sums(total)
    whole = summed.sum()
    return np.asarray(summed / whole if whole > 0 else np.full(len(summed), 1 / len(summed)))


def targets_of(y: Any, count: int) -> Array:
    """y as an array with a row for each of `count` samples, and nothing missing."""
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")
    array = _array(y)
    if array.ndim == 0 or array.shape[0] != count:
        have = array.shape[0] if array.ndim else f"is {shown(y)}"
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {many(count, 'row')} and y {have}; "
            "expected one target for each row"
        )
    if array.dtype.kind == "f":
        missing = np.isnan(array)
    elif array.dtype.kind in "Mm":
        missing = np.isnat(array)
    elif array.dtype.kind == "O":
        missing = np.array([is_missing(value) for value in array.ravel()], bool).reshape(array.shape)
    else:
        return array
    rows = np.flatnonzero(missing.reshape(count, -1).any(axis=1))
    if rows.size:
        where = rows_said(rows.tolist(), index_of(y))
        raise ValueError(
            f"y has a missing value (NaN) in {where}; expected a target in every row: leave "
            f"{'this row' if rows.size == 1 else 'these rows'} out of X and y"
        )
    return array


def name_of(y: Any) -> str | None:
    """The name of a series, or a name itself; None for what has none."""
    name = y if isinstance(y, str) else getattr(y, "name", None)
    return name if isinstance(name, str) else None


def _array(values: Any) -> Array:
    """A series, a frame or an array_like as an array; numbers beside texts stay numbers, what is masked is missing."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        plain, hidden = values.data, np.ma.getmaskarray(values)
        array = plain.astype(float if plain.dtype.kind in "biuf" else object)
        array[hidden] = np.nan
        return array
    of_pyarrow = hasattr(values, "to_pylist")  # which NumPy copies; its own to_numpy does not unless told to
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") and not of_pyarrow else values)
    if isinstance(values, (list, tuple)) and array.ndim == 1:
        mixed = array.dtype.kind in "US" and not all(isinstance(value, (str, bytes)) for value in values)
        rounded = array.dtype.kind == "f" and np.any(np.abs(array) >= 2**53)  # as NumPy does with large integers
        return np.array(values, object) if mixed or rounded else array
    return array


def sizes(value: Any) -> list[int]:
    """The sizes of the hidden layers, of which one may be given by itself."""
    try:
        many = [value] if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else list(value)
    except TypeError:
        raise TypeError(f"hidden_layer_sizes is {value!r}; expected a tuple of integers") from None
    return [positive_integer(size, "hidden_layer_sizes") for size in many]


def weighted_mean(values: Array, weight: Array | None) -> float:
    """The mean of values (n,), weighted."""
    return float(np.average(values, weights=weight))


def _plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in JSON's terms; callbacks and generators, which are none of a file's, are left out."""
    plain: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, (np.integer, np.floating, np.bool_)):
            value = value.item()
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, Mapping):
            keys = [key.item() if isinstance(key, np.generic) else key for key in value]
            value = {"pairs": [[key, float(weight)] for key, weight in zip(keys, value.values())]}
        if isinstance(value, tuple):
            value = list(value)
        if value is None or isinstance(value, (bool, int, float, str, dict, list)):
            plain[name] = value
    plain.pop("callbacks", None)
    return plain


def _restored_parameters(about: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a file names."""
    unknown = sorted(set(about) - set(known))
    if unknown:
        raise ValueError(f"it has the parameter {unknown[0]!r}; expected {', '.join(known)}")
    made = {}
    for name, value in about.items():
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, dict):
            pairs = value.get("pairs")
            if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                raise ValueError(f"its parameter {name!r} is no list of pairs")
            value = dict(pairs)
        made[name] = value
    return made
