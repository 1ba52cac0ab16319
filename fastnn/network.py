"""The network: the article's methods, and those that scikit-learn and Keras users know.

It checks what comes in and asks its engine (``fastnn.engine``).
"""

from __future__ import annotations

import copy
import html
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import saving
from .checks import (
    Array,
    flag,
    learning_rate as checked_learning_rate,
    positive_integer,
    positive_number,
    seed as checked_seed,
    shown,
)
from .data.columns import are_ready, real_array
from .data.samples import Samples
from .data.sources import row_parts
from .data.tables import checked_names
from .engine.engine import Engine
from .engine.gradients import Gradients
from .engine.one_sample import output_of_one, train_column
from .engine.plan import Plan
from .formulas.losses import LossFunction
from .formulas.names import named
from .formulas.optimizers import SGD, Optimizer
from .formulas.schedules import Constant, Schedule
from .layers.base import BaseLayer
from .layers.fitting import check_optimizer
from .layers.vector import packed, unpack
from .training.callbacks import Callback
from .training.epochs import fit, weighed_samples
from .training.guard import after_divergence
from .training.history import History
from .training.lbfgs import fit_lbfgs
from .training.lr_finder import LRCurve, find_lr
from .training.run import Divergence, Run
from .training.settings import Metrics, Settings, measures_of


class NeuralNetwork:
    """A series of connected layers, trained by gradient descent in compiled loops.

    Parameters
    ----------
    layers : list of Layer
        The layers from input to output; each takes as many inputs as the one before has outputs.
        A layer may stand in any number of places (see Notes).
    loss_function : LossFunction or str
        The loss: an object, or the name of one, such as "mse", "mae", "cross_entropy" or "bce".
    learning_rate : float or Schedule
        Step size, at least 0; kept as ``net.lr``, or ``net.learning_rate``, which may be changed at any time.
    optimizer : Optimizer or str, optional
        The rule that makes a step of a gradient, or its name, such as "adam"; by default `SGD`, the article's.
    clip_norm, clip_value : float, optional
        Limits of the gradient before a step: of its norm over all parameters (it is scaled down;
        Pascanu, Mikolov and Bengio 2013), and of the size of each number (it is cut).
    dtype : "float32" or "float64", optional
        Type of the parameters and of all arithmetic; the layers are converted. By default that
        of the layers, which is float64. float32 takes half the memory and half the time.

    Attributes
    ----------
    engine : Engine
        What runs the network. Fastnn's own parts ask it; you need not.

    Raises
    ------
    ValueError
        If there is no layer, sizes do not match, a name is unknown, or the learning rate is negative or not finite.
    TypeError
        If `layers` holds anything but `Layer`, or loss or optimiser is neither an object nor a name. A formula of your
        own that cannot be compiled is a `FormulaError`, a TypeError too, of the first call that needs it.

    Notes
    -----
    The method is stochastic gradient descent with backpropagation as derived in R. G. Serrao,
    "Neural networks fundamentals with Python" (mathspp.com). A call uses as many cores as repay it
    (see `set_num_threads`), with the same results as one. A network may be used by many threads;
    its calls then take turns.

    A layer that stands in several places, two or more, has one set of weights. In batches each place takes a
    step with the gradient of that place, all taken before the first; with plain descent that is a step with
    their sum. Optimisers with a memory keep one for each place. With ``batch_size=1`` the steps are the
    article's, one place after another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Layer, LeakyReLU, MSELoss, NeuralNetwork
    >>> net = NeuralNetwork(
    ...     [Layer(2, 4, LeakyReLU(), seed=0), Layer(4, 1, LeakyReLU(), seed=1)], MSELoss(), 0.05
    ... )
    >>> x = np.random.default_rng(0).normal(size=(2, 1000))
    >>> first = net.train(x, x[:1] + x[1:])
    >>> net.train(x, x[:1] + x[1:], epochs=10) < first
    True
    """

    def __init__(
        self,
        layers: Iterable[BaseLayer],
        loss_function: LossFunction | str,
        learning_rate: float | Schedule,
        optimizer: Optimizer | str | None = None,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dtype: np.typing.DTypeLike | None = None,
    ) -> None:
        try:
            layers = layers if isinstance(layers, list) else list(layers)
        except TypeError:
            raise TypeError(f"layers is {shown(layers)}; expected a list of Layer") from None
        self._given_rate = learning_rate if isinstance(learning_rate, Schedule) else None
        self.engine = Engine(
            layers,
            named(LossFunction, loss_function, "loss_function"),
            _schedule(learning_rate),
            SGD() if optimizer is None else named(Optimizer, optimizer, "optimizer"),
            clip_norm=_limit(clip_norm, "clip_norm"),
            clip_value=_limit(clip_value, "clip_value"),
            dtype=dtype,
        )

    @classmethod
    def around(cls, engine: Engine) -> NeuralNetwork:
        """The network that `engine` runs."""
        net = cls.__new__(cls)
        net.engine = engine
        return net

    _given_rate: Schedule | None = None  # what `lr` was set to, if that was a schedule: it comes back as it is

    # --- what it is made of ------------------------------------------------------------------

    @property
    def layers(self) -> list[BaseLayer]:
        """The layers, from input to output."""
        return self.engine.layers

    @property
    def loss_function(self) -> LossFunction:
        """The loss."""
        return self.engine.loss

    @property
    def lr(self) -> Any:
        """The learning rate, a float, or the `Schedule` in its place. Assign either at any time."""
        rate = self.engine.rate
        return rate.lr if type(rate) is Constant and rate is not self._given_rate else rate

    @lr.setter
    def lr(self, value: Any) -> None:
        rate = self.engine.rate
        if type(value) is float and 0.0 <= value < math.inf and type(rate) is Constant and rate is not self._given_rate:
            vars(rate)["lr"] = value  # loops set it before every step; nobody else has this object
        else:
            self._given_rate = value if isinstance(value, Schedule) else None
            self.engine.rate = _schedule(value)

    learning_rate = lr  # as the constructor calls it: a plain attribute of that name would change nothing

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser. A new one starts afresh, without memory of the steps before."""
        return self.engine.optimizer

    @optimizer.setter
    def optimizer(self, value: Optimizer | str) -> None:
        optimizer = named(Optimizer, value, "optimizer")
        check_optimizer(optimizer)
        self.engine.optimizer = optimizer

    @property
    def clip_norm(self) -> float | None:
        """The limit of the gradients' norm."""
        return self.engine.clip_norm

    @clip_norm.setter
    def clip_norm(self, value: float | None) -> None:
        self.engine.clip_norm = _limit(value, "clip_norm")

    @property
    def clip_value(self) -> float | None:
        """The limit of the size of each number of the gradients."""
        return self.engine.clip_value

    @clip_value.setter
    def clip_value(self, value: float | None) -> None:
        self.engine.clip_value = _limit(value, "clip_value")

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.engine.dtype

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the inputs, as the columns of the first data frame in training had them, or None.

        A frame given later must have the same columns in the same order; arrays have no names and pass. They are
        kept in files, copies and pickles. Assign None to forget them, or a name for each input.

        Examples
        --------
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork
        >>> net = NeuralNetwork([Layer(2, 1, Identity())], MSELoss(), 0.1)
        >>> net.feature_names = ["age", "income"]
        >>> net.feature_names
        ('age', 'income')
        """
        return self.engine.feature_names

    @feature_names.setter
    def feature_names(self, names: Iterable[str] | None) -> None:
        self.engine.feature_names = checked_names(names, self.engine.ins)

    # The article's names
    @property
    def _layers(self) -> list[BaseLayer]:
        return self.engine.layers

    @_layers.setter
    def _layers(self, layers: list[BaseLayer]) -> None:
        self.engine.layers = layers

    @property
    def _loss_function(self) -> LossFunction:
        return self.engine.loss

    @_loss_function.setter
    def _loss_function(self, loss: LossFunction | str) -> None:
        self.engine.loss = named(LossFunction, loss, "loss_function")

    # --- the article's methods: a sample is a column -----------------------------------------

    def forward_pass(self, x: Any) -> Array:
        """The network's outputs for the columns of x.

        Parameters
        ----------
        x : array_like (ins, N)
            One sample a column, of any real dtype. A sample gives the same bits alone and among
            others.

        Returns
        -------
        ndarray (outs, N)

        Raises
        ------
        ValueError, TypeError
            If the shape does not fit, or x holds anything but finite real numbers.
        """
        engine = self.engine
        plan = engine.current()
        output = output_of_one(engine, x, "x", plan, plan.column, plan.output_column)
        return np.ascontiguousarray(engine.outputs(plan.form.columns(x)).T) if output is None else output

    def loss(self, values: Any, expected: Any) -> float:
        """The mean loss of outputs `values` (outs, N) with targets `expected`, as in `train`."""
        form = self.engine.form
        rows = form.outputs(values, "values")
        return self.engine.mean_loss(rows, *form.column_targets(expected, rows.shape[0], "expected", "values"))

    def train(
        self,
        x: Any,
        t: Any,
        epochs: int = 1,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> float:
        """Train on the columns of x and t by gradient descent.

        With ``batch_size=1`` this does what a loop over the columns does, one step each.

        Parameters
        ----------
        x : array_like (ins, N)
            One sample a column.
        t : array_like (outs, N), or class indices: int or ints (N,)
            The targets, whichever the loss takes.
        epochs : int, default 1
            How many times to go through all columns.
        batch_size : int, default 1
            Columns to a step. The gradient is the mean over them; a last short batch is used.
        shuffle : bool, default False
            Whether each epoch takes the columns in a new random order.
        seed : int, optional
            Makes the order reproducible; by default it differs from call to call. A call counts
            its epochs from 0, so calls with the same seed take the same order.

        Returns
        -------
        float
            The mean loss over the columns during the last epoch, each taken before its step; not
            finite if training diverged.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit or holds anything but finite real numbers. The network
            is unchanged then.

        Warns
        -----
        RuntimeWarning
            Once for a network, when its loss is not finite any more: with the step (of a tiny network with
            a kernel of its own, the 64 among which it is), the last finite loss and the usual cures. (`fit`
            stops with an error instead.) What the optimiser keeps begins anew, for weights that you may set.

        Notes
        -----
        Ctrl-C is heard within about a tenth of a second; the steps taken so far stay.

        For a schedule with ``per="epoch"`` the epochs of all calls count, whatever their batch sizes and numbers
        of columns. A call with a single column is one step of a loop over columns, and no epoch.
        """
        engine = self.engine
        if (
            type(x) is np.ndarray
            and x.shape[1:] == (1,)
            and type(epochs) is type(batch_size) is int
            and epochs == batch_size == 1
            and type(shuffle) is bool
            and seed is None
        ):
            plan = engine.current()
            if plan.article is None:
                engine.train_with(lambda plan: None, 1)
            if plan.article and type(engine.rate) is Constant:
                loss = train_column(engine, x, t, plan)
                if loss - loss != 0.0:
                    after_divergence(self, loss, Divergence(int(engine.state.steps[0]) - 1, 1, plan.last_loss))
                return loss
        settings = Settings(
            epochs=epochs, batch_size=batch_size, shuffle=shuffle, seed=seed, equal_batches=False, verbose=0
        )
        engine.base_rate()
        form = engine.form.fitted_to_columns(x).fitted_to_targets(t, "t", columns=True)
        run = Run(engine, Samples.of_columns(form, x, t), settings)
        run.counts_epochs = run.samples.size > 1 or settings.epochs > 1
        run.adapt()
        before = int(engine.state.steps[0])
        loss = run.advance(settings.epochs * run.steps_per_epoch)
        if math.isfinite(loss):
            engine.last_loss = loss
        elif (divergence := run.divergence()) is not None:
            last = engine.last_loss if divergence.last_loss is None else divergence.last_loss
            window = min(divergence.window, run.step - divergence.step)
            after_divergence(self, loss, Divergence(before + divergence.step, window, last))
        return loss

    def gradients(self, x: Any, t: Any, training: bool = False, seed: int = 0) -> Gradients:
        """The gradients of the mean loss over the columns, without an update.

        Parameters
        ----------
        x, t
            As in `train`.
        training : bool, default False
            Whether dropout, noise and batch normalisation act as in training (running averages
            stay as they are all the same).
        seed : int, default 0
            Of their random numbers.

        Returns
        -------
        Gradients
            The article's lists ``dxs, dWs, dbs``, and the mean loss. The arrays are yours.

        Notes
        -----
        Room for the gradients of as many samples is kept for the next call, unless it takes more than
        64 MB. An optimiser of your own needs less: see `NeuralNetwork.loss_and_gradient`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork
        >>> net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
        >>> dxs, dWs, dbs, loss = net.gradients([[1.0], [2.0]], [[3.0]])
        >>> dWs[0], dbs[0], loss
        (array([[ -6., -12.]]), array([[-6.]]), 9.0)
        """
        engine = self.engine
        training = flag(training, "training")
        return engine.gradients(Samples.of_columns(engine.form, x, t), training, checked_seed(seed))

    # --- rows: fit and predict ----------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        validation_shuffle: bool = True,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | Sequence[float] | str | None = None,
        metrics: Metrics = (),
        train_metrics: bool | None = None,
        callbacks: Iterable[Callback] | Callback | None = (),
        verbose: int = 1,
        seed: int | None = None,
    ) -> History:
        """Train on the rows of X and y.

        Parameters
        ----------
        X : array_like (n_samples, n_features), or a data set with its targets
            One sample a row, of any real dtype: an array, a data frame, or a sparse matrix of SciPy, of which
            some rows at a time are made dense. It may be larger than memory; see Notes. Rows of more dimensions, such
            as images, are flattened where a loader gives them or they lie outside memory. The first frame gives the
            network its `feature_names`, to which all later ones are held.
        y : array_like
            Targets: class indices (n_samples,) or one-hot rows for a loss of classes, else values
            (n_samples, n_outputs), or (n_samples,) for one output. None if X brings them along.
        epochs, batch_size : int, default 1 and 32
            How many times to go through all samples, and at most how many of them to a step: the batches are as few
            as that allows, and their sizes differ by one at most. (`train` takes full ones and a last, short one.)
        validation_data : (X, y) or (X, y, sample_weight), optional
            Other samples, on which loss and metrics are measured after every epoch. With weights, the loss
            is sum(weight * loss) / n, as in training. Or a `fastnn.parquet` or a DataLoader, read into memory.
        validation_split : float, default 0.0
            The part of the samples to hold out for that instead.
        validation_shuffle : bool, default True
            Whether that part is drawn by the `seed`: of each class its share, where targets are classes, and of a
            class of one sample none. False holds out the last samples, as it must be for series in time.
        shuffle : bool, default True
            Whether each epoch takes the samples in a new random order.
        sample_weight : array_like (n_samples,), optional
            Weights of the samples' losses. A batch's loss is sum(weight * loss) / n. With `validation_split`
            they are cut as the samples are, and weigh the validation's loss too.
        class_weight : dict from class to weight, n_outputs weights, or "balanced", optional
            Weights by class; "balanced" gives all classes the same total. 0 and 1 under
            `BCEWithLogitsLoss` with one output are classes, too.
        metrics : names or functions, one or many
            See `fastnn.METRICS`. They judge what `predict` gives, on the scale of the targets. With validation data
            they are measured on these, after every epoch, and stand in the history as ``val_accuracy``.
        train_metrics : bool, optional
            Whether they are measured on the training samples too, from the outputs during the epoch, as the loss is
            (``accuracy`` in the history). By default only where there are no validation data: that may take longer
            than the training.
        callbacks : Callbacks, one or many
            See ``fastnn.training``: `callbacks`, `monitors` and `loggers`.
        verbose : {0, 1, 2}, default 1
            0 shows nothing; 1 a progress bar, on a terminal or in a notebook and with tqdm, for runs of more than
            a second; 2 one line an epoch.
        seed : int, optional
            Makes the order of the samples, and what is held out, reproducible.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; the network is unchanged then.
        DivergedError
            If the loss or a weight is no longer finite after an epoch; the network then has the
            weights from before that epoch.

        Warns
        -----
        UserWarning
            If `validation_split` leaves no sample of a class for training, or none for validation; it names them.

        Notes
        -----
        Ctrl-C ends the fit within about a tenth of a second; the steps taken so far stay, and
        ``history.stopped`` says so.

        **What is held out.** A draw copies the samples once, in the network's dtype, where they had it and lay in
        rows; ``validation_shuffle=False`` takes views of them. Of data larger than memory what is held out is in
        memory, and a draw reads all targets before the first step. The samples left for training stay in their order,
        which `shuffle` then mixes.

        **Data larger than memory.** While the kernel trains on one chunk of samples, a thread reads and
        checks the next; no more than these two are in memory. X may be

        - a `numpy.memmap`, or an array with `shape` and `dtype` that gives its rows for ``X[start:stop]``
          (HDF5, zarr); y is the same or an ordinary array. A chunk is about 64 MB of rows in the
          network's dtype, and whole batches: without shuffling, the steps are bit for bit those on an
          array (but for the random numbers of dropout and noise). What fits into one chunk is read
          once, and then is an array. Arrays in chunks on disk (HDF5, zarr) are read chunk by chunk.
        - `fastnn.parquet`, of which row groups are read one after another.
        - an iterable of chunks ``(X, y)`` or ``(X, y, sample_weight)``, each of which is parted into batches
          of its own. A generator lasts for one epoch; for more, give a function that returns a new one.
        - a `torch.utils.data.DataLoader`. Its batches are the steps, in its order: `batch_size`, `shuffle` and `seed`
          have no say in them.

        `shuffle` reads what is in chunks or row groups in a random order of these, and mixes samples in a buffer of
        about 128 MB. Of other data it takes the samples within a chunk in random order, and the chunks of arrays, not
        those of an iterable; samples that are sorted on disk should be mixed there. The loss is the mean over
        all samples of the epoch, as are the metrics ``accuracy``, ``top_k``, ``mse``, ``mae`` and
        ``log_loss``; others are measured on the validation data only, which are in memory. With an
        iterable, `validation_split` and ``class_weight="balanced"`` are refused. `Standardize` and
        `StandardizeTargets` measure all rows of an array, in a pass of their own, and the first chunk of an
        iterable. A bad chunk is an
        error that names it, after the steps on those before. A `Checkpoint` resumes at the epoch, if an
        iterable gives the same chunks
        again. After Ctrl-C, a read under way is waited for, for up to a second in all.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Adam, CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(500, 2))
        >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
        >>> layers = [Layer(2, 16, ReLU(), seed=rng), Layer(16, 2, Identity(), seed=rng)]
        >>> net = NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam())
        >>> history = net.fit(X, y, epochs=40, validation_split=0.2, metrics=["accuracy"], seed=0)
        >>> history["val_accuracy"][-1] > 0.9
        True

        The same samples in five chunks, each made when it is needed:

        >>> def chunks():
        ...     for start in range(0, 500, 100):
        ...         yield X[start : start + 100], y[start : start + 100]
        >>> net.fit(chunks, epochs=3, metrics=["accuracy"])["accuracy"][-1] > 0.9
        True
        """
        settings = Settings(
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            validation_shuffle=validation_shuffle,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            metrics=metrics,
            train_metrics=train_metrics,
            callbacks=callbacks,
            verbose=verbose,
            seed=seed,
        )
        return fit(self, X, y, settings)

    def partial_fit(self, X: Any, y: Any, batch_size: int = 32, sample_weight: Any = None) -> float:
        """One epoch on these rows, in their order, in the batches of `fit`; returns the mean loss.

        The optimiser goes on where it was.

        Three calls do what ``fit(X, y, epochs=3, shuffle=False)`` does: for a schedule with ``per="epoch"`` each
        call is an epoch. Where a call gets a batch of something larger, take ``per="step"``, or give `fit` the chunks.
        """
        history = self.fit(
            X, y, batch_size=batch_size, sample_weight=sample_weight, shuffle=False, verbose=0
        )  # fmt: skip
        return history["loss"][0]

    def predict(self, X: Any) -> Array:
        """The predictions (n_samples, n_outputs) for rows X, on the scale of the targets.

        They are what the loss makes of the `outputs` (see `LossFunction.predictions`): the outputs themselves, but
        under `PoissonNLLLoss` the rates, exp(outputs); behind a `StandardizeTargets` they are of the targets' mean
        and spread. Under a loss of classes they are the outputs, which are logits; `predict_classes` and
        `predict_proba` say what these stand for.

        Parameters
        ----------
        X : array_like (n_samples, n_features)
            As in `fit`.

        Returns
        -------
        ndarray (n_samples, n_outputs)
            Of the network's dtype; float64 behind a `StandardizeTargets`, since float32 does not tell one second
            since 1970 from the next.

        Raises
        ------
        ValueError, TypeError
            If X does not fit, or holds anything but finite real numbers.

        Examples
        --------
        >>> from fastnn import Identity, Layer, NeuralNetwork, PoissonNLLLoss
        >>> net = NeuralNetwork([Layer(1, 1, Identity(), init="zeros")], PoissonNLLLoss(), 0.1)
        >>> net.outputs([[5.0]]).item(), net.predict([[5.0]]).item()
        (0.0, 1.0)
        """
        engine = self.engine
        plan = engine.current()
        outputs = output_of_one(engine, X, "X", plan, plan.row, plan.output_row)
        if outputs is None:
            outputs = self._outputs(X, plan)
        return outputs if plan.predictor is None else plan.predictor(outputs)

    def outputs(self, X: Any) -> Array:
        """The network's outputs (n_samples, n_outputs) for rows X, as the loss takes them: `forward_pass` on rows.

        They are logits under a loss of classes, logarithms of rates under `PoissonNLLLoss`, of mean 0 and variance 1
        behind a `StandardizeTargets`; see `predict`.

        Parameters
        ----------
        X : array_like (n_samples, n_features)
            As in `fit`.

        Returns
        -------
        ndarray (n_samples, n_outputs)
            Of the network's dtype.

        Raises
        ------
        ValueError, TypeError
            If X does not fit, or holds anything but finite real numbers.

        Examples
        --------
        >>> from fastnn import CrossEntropyLoss, Identity, Layer, NeuralNetwork
        >>> net = NeuralNetwork([Layer(2, 3, Identity(), init="zeros")], CrossEntropyLoss(), 0.1)
        >>> net.outputs([[5.0, 1.0]])
        array([[0., 0., 0.]])
        """
        plan = self.engine.current()
        output = output_of_one(self.engine, X, "X", plan, plan.row, plan.output_row)
        return self._outputs(X, plan) if output is None else output

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n_samples, n_classes), for losses that imply one.

        Raises
        ------
        TypeError
            If the loss is none of classes.
        """
        with np.errstate(under="ignore"):  # a probability too small for a number is 0
            return np.asarray(self.loss_function.probabilities(self.outputs(X)))

    def predict_classes(self, X: Any) -> Array:
        """The class of each row, ints (n_samples,).

        Of many labels (`BCEWithLogitsLoss` with several outputs) it is 0 or 1 for each, ints (n_samples, n_labels).
        """
        return np.asarray(self.loss_function.classes(self.outputs(X)))

    def evaluate(self, X: Any, y: Any = None, metrics: Metrics = (), sample_weight: Any = None) -> dict[str, float]:
        """The mean loss and the metrics on rows X, by name. The metrics judge what `predict` gives.

        X may be a `fastnn.parquet` or a DataLoader, which brings y along; it is read into memory.

        With weights the loss is sum(weight * loss) / n, as in `fit`, and the metrics are weighted averages; a
        function of your own gets the weights if it takes ``sample_weight``.
        """
        return self.engine.scores(weighed_samples(self.engine.form, (X, y, sample_weight)), measures_of(metrics))

    # --- everything in one vector, and searches -----------------------------------------------

    @property
    def parameters(self) -> Array:
        """All that training changes, in one vector (n,): a copy. Assign a vector to set it.

        Layer by layer it holds the rows of the transposed weights, (ins, outs), and then the
        biases; of a normalising layer gamma and beta. A layer that stands in several places is in it once.
        """
        return self.engine.alone(lambda: packed(self.layers))

    @parameters.setter
    def parameters(self, vector: Any) -> None:
        self.engine.alone(lambda: unpack(real_array(vector, "parameters"), self.layers, "parameters"))

    def loss_and_gradient(self, X: Any, y: Any) -> tuple[float, Array]:
        """The mean loss over rows X, and its gradient with respect to `parameters`, without an update.

        It is what an optimiser of your own needs, and costs less than `gradients`, which also gives
        the gradients of the inputs. Layers act as in inference; penalties are not in it. Layers
        that are not trainable have gradient 0.

        Parameters
        ----------
        X, y : array_like
            As in `NeuralNetwork.fit`. Contiguous rows of the network's dtype are taken as they are.

        Returns
        -------
        loss : float
        gradient : ndarray (n,)

        Raises
        ------
        ValueError, TypeError
            If X or y does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork
        >>> net = NeuralNetwork([Layer(2, 1, Identity(), seed=0)], MSELoss(), 0.1)
        >>> X = np.random.default_rng(0).normal(size=(50, 2))
        >>> y = X @ [3.0, -2.0] + 1
        >>> for step in range(100):
        ...     loss, gradient = net.loss_and_gradient(X, y)
        ...     net.parameters -= 0.1 * gradient
        >>> net.parameters.round(2).tolist()
        [3.0, -2.0, 1.0]
        """
        engine = self.engine
        return engine.gradient(Samples.of_rows(engine.form, X, y))

    def find_lr(
        self,
        X: Any,
        y: Any,
        lowest: float = 1e-7,
        highest: float = 10.0,
        steps: int = 100,
        batch_size: int = 32,
        seed: int | None = None,
    ) -> LRCurve:
        """Look for a good learning rate: a short run on a copy, at a rate that grows from step to step.

        The network stays as it is, and so does its optimiser. The run ends early where the loss is
        no longer finite, or its moving average is above 4 times its best.

        Parameters
        ----------
        X, y
            As in `NeuralNetwork.fit`; if there are fewer than ``steps * batch_size`` samples, they come again.
        lowest, highest : float, default 1e-7 and 10
            The first and the last rate; each step multiplies the rate by the same factor.
        steps, batch_size : int, default 100 and 32
            How many rates to try, and samples to each; small batches need more steps.
        seed : int, optional
            Makes the order of the samples reproducible.

        Returns
        -------
        LRCurve
            With ``suggestion``, and ``plot()`` to judge for yourself.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        DivergedError
            If the loss is not finite before any step.

        Notes
        -----
        The learning rate range test of Smith, "Cyclical learning rates for training neural networks" (2017).

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Layer, MSELoss, NeuralNetwork, Tanh
        >>> X = np.random.default_rng(0).normal(size=(500, 3))
        >>> net = NeuralNetwork([Layer(3, 16, Tanh(), seed=0), Layer(16, 1, Tanh(), seed=1)], MSELoss(), 0.1)
        >>> curve = net.find_lr(X, np.tanh(X[:, 0] - X[:, 1]), seed=0)
        >>> 1e-3 < curve.suggestion < 1
        True
        >>> net.lr = curve.suggestion
        """
        settings = Settings(batch_size=batch_size, seed=seed, verbose=0)
        samples = Samples.of_rows(self.engine.form.fitted_to(X).fitted_to_targets(y), X, y)
        return find_lr(self.engine, samples, lowest, highest, steps, settings)

    def fit_lbfgs(
        self,
        X: Any,
        y: Any,
        max_iter: int = 200,
        *,
        tol: float = 1e-8,
        memory: int = 10,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | Sequence[float] | str | None = None,
        callback: Callable[[int, float], object] | None = None,
    ) -> History:
        """Train on all rows at once by L-BFGS, for data of some thousand samples at most (needs scipy).

        Each iteration takes the gradient over all samples, in float64 whatever the network's dtype,
        and needs no learning rate. Layers that are not trainable stay. The network's learning rate,
        optimiser, clipping and optimiser state play no part and do not change.

        Parameters
        ----------
        X, y, sample_weight, class_weight
            As in `NeuralNetwork.fit`.
        max_iter : int, default 200
            At most so many iterations, each of one evaluation or a few.
        tol : float, default 1e-8
            Enough when no element of the gradient is larger.
        memory : int, default 10
            How many past steps shape the next one.
        callback : function, optional
            Called as ``callback(iteration, loss)`` after each iteration; the network then has its
            weights. It may raise `StopTraining`.

        Returns
        -------
        History
            A row for each iteration: ``loss``, with penalties, after it, and ``evaluations`` so far.
            ``stopped`` says why it ended before `max_iter`, such as "converged".

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit, or a layer has an l1 penalty (which has no gradient at 0) or a
            max_norm, or is `Dropout`, `GaussianNoise` or `BatchNorm`, with which the loss is no function
            of the parameters alone; the network is unchanged then.
        DivergedError
            If the loss is not finite before any step.

        Notes
        -----
        Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989), as
        in ``scipy.optimize.minimize(method="L-BFGS-B")``. Ctrl-C leaves the best weights so far.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Tanh
        >>> X = np.linspace(-2, 2, 50).reshape(-1, 1)
        >>> net = NeuralNetwork([Layer(1, 8, Tanh(), seed=0), Layer(8, 1, Identity(), seed=1)], MSELoss(), 0.1)
        >>> history = net.fit_lbfgs(X, np.sin(2 * X))
        >>> history["loss"][-1] < 1e-3
        True
        """
        settings = Settings(
            epochs=positive_integer(max_iter, "max_iter"), sample_weight=sample_weight, class_weight=class_weight
        )
        return fit_lbfgs(self.engine, X, y, settings, tol=tol, memory=memory, callback=callback)

    # --- weights, files, looks ------------------------------------------------------------------

    def get_weights(self) -> list[tuple[Array, ...]]:
        """Copies of the arrays of every layer: of a `Layer` the weights (outs, ins) and biases (outs, 1)."""
        return self.engine.weights

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set the arrays of every layer, as `get_weights` returns them.

        Raises
        ------
        ValueError, TypeError
            If the number of layers or arrays, a shape or a dtype does not fit; nothing is set then.
        """
        self.engine.weights = weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to one safetensors file; `fastnn.load` reads it.

        The file holds weights, architecture, optimiser and its state. It is written beside `path`
        and then renamed, so that a crash leaves the old file or the new one, never half of one; what a
        killed process left there is taken away by the next one that saves in that folder. The target of a
        symbolic link is replaced, and the mode is the old file's, or the umask's.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.safetensors``.

        Raises
        ------
        TypeError
            If an activation, a loss, an optimiser or the like of your own is more than its constructor makes
            of numbers, strings and None: a file keeps a class and the arguments of its constructor.
        OSError, ValueError
            If `path` is no place for a file: a folder, a device, a pipe, one of several hard links, no name; if
            its folder is not there or not to be written to; if the disk is full.
        """
        saving.save(self.engine, path)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network in inference as an ONNX file, opset 20 (needs onnx); `fastnn.from_onnx` reads it.

        The graph has an input ``x`` (n, ins) of the network's dtype, for any n; an output ``predictions``, which is
        what `predict` gives, and, where the loss gives them, ``probabilities`` as of `predict_proba`. In a float32
        network whose `Standardize` has an offset, ``x`` is float64. Activations and stages of your own become functions
        of the model, whose nodes are read off their NumPy text.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.onnx``. A file that is there is replaced as a whole, as by `save`.

        Raises
        ------
        ImportError
            If onnx is not installed.
        FormulaError
            If a formula cannot be told from its text: the error names the class and the reason.
        ValueError, OSError
            If a weight is not finite, the network is larger than 2 GB, or `path` is no place for a file.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastnn import CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
        >>> net = NeuralNetwork([Layer(4, 8, ReLU()), Layer(8, 3, Identity())], CrossEntropyLoss(), 0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.to_onnx(os.path.join(folder, "net.onnx"))
        """
        from .files import onnx

        onnx.to_onnx(self.engine, path)

    def to_c(
        self, path: str | os.PathLike[str], name: str = "model", dtype: str = "float32", calibration: Any = None
    ) -> None:
        """Write the network in inference as one C99 file and its header, for a small device.

        They need ``math.h`` alone, allocate nothing, and keep the weights in constant arrays. A comment says how many
        bytes these are, and the most that the stack takes. There are ``void model_predict(const float x[], float y[])``
        and, where the loss gives probabilities, ``model_predict_proba``.

        Parameters
        ----------
        path : str or path-like
            Of the C file, ending in ``.c``; the header beside it ends in ``.h``.
        name : str, default "model"
            With which all names begin.
        dtype : {"float32", "float64", "int8"}, default "float32"
            Of the weights, and of the arithmetic. In int8 the weights have a scale for each row, and sums are of 32
            bits; activations are computed in float32.
        calibration : array_like (n_samples, ins)
            For int8, rows such as the network will meet. The range of what goes into each layer is taken from them, and
            the largest error of the outputs on them is written into the file.

        Raises
        ------
        FormulaError
            If a formula cannot be told from its text: the error names the class and the reason.
        ValueError, TypeError, OSError
            If an argument does not fit, a weight is not finite, or `path` is no place for a file.

        Notes
        -----
        ``y`` is what `predict` gives: in float64 behind a `StandardizeTargets`. Inputs are float64 where `Standardize`
        takes off an offset, as from seconds since 1970.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Tanh
        >>> net = NeuralNetwork([Layer(2, 4, Tanh()), Layer(4, 1, Identity())], MSELoss(), 0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.to_c(os.path.join(folder, "model.c"))
        ...     sorted(os.listdir(folder))
        ['model.c', 'model.h']
        """
        from .files import c

        c.to_c(self.engine, path, name, dtype, calibration)

    def to_torch(self) -> Any:
        """The network as an ``nn.Sequential`` of PyTorch, with copies of the weights (needs torch).

        Layers become Linear and an activation, normalisations and dropout their like, of the network's dtype. What
        PyTorch has no module for, such as `Standardize` or a formula of your own, is a module that computes its NumPy
        text, with constants that PyTorch does not train. `fastnn.from_torch` reads the module.

        Returns
        -------
        torch.nn.Sequential
            It gives what `predict` gives once ``module.eval()`` was called; where that is not the outputs themselves,
            the last module makes it of them. Put ``torch.nn.Softmax(-1)`` behind it for probabilities.

        Raises
        ------
        ImportError
            If torch is not installed.
        FormulaError
            If a formula cannot be told from its text: the error names the class and the reason.
        ValueError
            If a weight is not finite.
        """
        from .files import torch

        return torch.to_torch(self.engine)

    def to_keras(self) -> Any:
        """The network as a ``Sequential`` of Keras, with copies of the weights (needs keras).

        Returns
        -------
        keras.Sequential
            It gives what `predict` gives. `fastnn.from_keras` reads it.

        Raises
        ------
        ImportError
            If keras is not installed.
        FormulaError
            If Keras has no layer for one of the network's: the error names it.
        ValueError
            If a weight is not finite.
        """
        from .files import keras

        return keras.to_keras(self.engine)

    def allclose(self, other: NeuralNetwork, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
        """Whether another network has layers of the same sizes, and weights that are as good as equal."""
        if [(a.ins, a.outs) for a in self.layers] != [(b.ins, b.outs) for b in other.layers]:
            return False
        pairs = zip(self.get_weights(), other.get_weights())
        return all(np.allclose(p, q, rtol, atol) for mine, theirs in pairs for p, q in zip(mine, theirs))

    def summary(self) -> str:
        """A table of the layers: inputs, outputs, activation, parameters, bytes.

        Examples
        --------
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, ReLU
        >>> net = NeuralNetwork([Layer(2, 16, ReLU()), Layer(16, 1, Identity())], MSELoss(), 0.1)
        >>> print(net.summary())
        layer       ins    outs  parameters     bytes  activation
        0             2      16          48       384  ReLU()
        1            16       1          17       136  Identity()
        total                            65       520  float64, MSELoss()
        """
        lines = ["layer       ins    outs  parameters     bytes  activation"]
        total = 0
        for i, layer in enumerate(self.layers):
            count = layer.parameter_count
            total += count
            note = repr(getattr(layer, "act_function", layer)) + ("" if layer.trainable else "  (not trainable)")
            lines.append(f"{i:<5}{layer.ins:10}{layer.outs:8}{count:12,}{count * self.dtype.itemsize:10,}  {note}")
        lines.append(f"total{total:30,}{total * self.dtype.itemsize:10,}  {self.dtype}, {self.loss_function!r}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"

    def __copy__(self) -> NeuralNetwork:
        """Another network with the same layers, and settings of its own."""
        twin = type(self).around(copy.copy(self.engine))
        vars(twin).update({name: value for name, value in vars(self).items() if name != "engine"})
        if self.lr is not self.engine.rate:
            twin.engine.rate = Constant(self.lr)
        return twin

    def __repr__(self) -> str:
        layers = "".join(f"    {layer!r},\n" for layer in self.layers)
        return f"{type(self).__name__}([\n{layers}], {self.loss_function!r}, {self.lr}, dtype={self.dtype.name!r})"

    def _outputs(self, X: Any, plan: Plan) -> Array:
        """The outputs for rows that are no single sample."""
        if are_ready(X, plan.row[1], plan.dtype):
            return self.engine.outputs(X, unchecked=True)
        parts = row_parts(X, plan.form)
        if parts is None:
            return self.engine.outputs(plan.form.rows(X))
        out, first = np.empty((parts[0], plan.form.outs), plan.dtype), 0
        for where, some in parts[1]:
            rows = plan.form.rows(some, f"X{where}")
            self.engine.outputs(rows, out[first : first + len(rows)])
            first += len(rows)
        return out


def _schedule(lr: Any) -> Schedule:
    """A learning rate as a schedule."""
    return lr if isinstance(lr, Schedule) else Constant(checked_learning_rate(lr))


def _limit(value: float | None, name: str) -> float | None:
    """A limit of the gradients, or None."""
    return None if value is None else positive_number(value, name)


def load(path: str | os.PathLike[str], custom: Iterable[type] = ()) -> NeuralNetwork:
    """Read a network from a file that `NeuralNetwork.save` wrote.

    Parameters
    ----------
    path
        The file.
    custom : classes, optional
        Your own activations, losses, optimisers, schedules and stages that the network uses; a file can
        name a class and the arguments of its constructor, and never bring or import one.

    Returns
    -------
    NeuralNetwork
        It gives the same bits as the saved one, and goes on training where that one was.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        If there is no such file, or it cannot be read.
    ValueError
        If the file is damaged, of another format, or names a class that is neither fastnn's nor
        in `custom`. All is checked before any layer is made, so a file from a stranger can do no
        more than fail to load.
    TypeError
        If `custom` holds anything but such classes.

    Examples
    --------
    >>> import fastnn, tempfile, os
    >>> net = fastnn.NeuralNetwork([fastnn.Layer(2, 1, fastnn.Tanh())], fastnn.MSELoss(), 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     net.save(path)
    ...     twin = fastnn.load(path)
    >>> twin.allclose(net)
    True
    """
    return NeuralNetwork.around(saving.load(path, custom))
