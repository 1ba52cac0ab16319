"""The network: the article's methods, and those that scikit-learn and Keras users know."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import saving
from .data.rows import feature_rows
from .formulas.metrics import named_metrics
from .searching import SearchingNetwork
from .training.callbacks import Callback
from .training.epochs import Samples, fit
from .training.history import History

Array = np.ndarray[Any, np.dtype[Any]]


class NeuralNetwork(SearchingNetwork):
    """A series of connected layers, trained by gradient descent in compiled loops.

    Parameters
    ----------
    layers : list of Layer
        The layers from input to output; each takes as many inputs as the one before has outputs.
    loss_function : LossFunction
        The loss.
    learning_rate : float or Schedule
        Step size, at least 0; kept as ``net.lr``, which may be changed at any time.
    optimizer : Optimizer, optional
        The rule that makes a step of a gradient; by default `SGD`, the article's.
    clip_norm, clip_value : float, optional
        Limits of the gradient before a step: of its norm over all parameters (it is scaled down;
        Pascanu, Mikolov and Bengio 2013), and of the size of each number (it is cut).
    dtype : "float32" or "float64", optional
        Type of the parameters and of all arithmetic; the layers are converted. By default that
        of the layers, which is float64. float32 takes half the memory and half the time.

    Raises
    ------
    ValueError
        If there is no layer, sizes do not match, or the learning rate is negative or not finite.
    TypeError
        If `layers` holds anything but `Layer`, or `loss_function` is no `LossFunction`; also
        `FormulaError`, if an activation or a loss of your own cannot be compiled.

    Notes
    -----
    The method is stochastic gradient descent with backpropagation as derived in R. G. Serrao,
    "Neural networks fundamentals with Python" (mathspp.com). A call uses as many cores as repay it
    (see `set_num_threads`), with the same results as one. A network may be used by many threads;
    its calls then take turns.

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

    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
        metrics: Iterable[str | Callable[..., float]] = (),
        callbacks: Sequence[Callback] = (),
        verbose: int = 1,
        seed: int | None = None,
    ) -> History:
        """Train on the rows of X and y.

        Parameters
        ----------
        X : array_like (n_samples, n_features), or chunks
            One sample a row, of any real dtype. It may be larger than memory; see Notes.
        y : array_like
            Targets: class indices (n_samples,) or one-hot rows for a loss of classes, else values
            (n_samples, n_outputs), or (n_samples,) for one output. None if X is made of chunks.
        epochs, batch_size : int, default 1 and 32
            How many times to go through all samples, and samples to a step; a last short batch
            is used.
        validation_data : (X, y), optional
            Other samples, on which loss and metrics are measured after every epoch.
        validation_split : float, default 0.0
            The part of the samples, from the end, to hold out for that instead.
        shuffle : bool, default True
            Whether each epoch takes the samples in a new random order.
        sample_weight : array_like (n_samples,), optional
            Weights of the samples' losses. A batch's loss is sum(weight * loss) / n.
        class_weight : dict from class to weight, or "balanced", optional
            Weights by class; "balanced" gives all classes the same total.
        metrics : names or functions
            See `fastnn.METRICS`. On the training samples they are measured from the outputs
            during the epoch, as the loss is.
        callbacks : list of Callback
            See `fastnn.training.callbacks`.
        verbose : {0, 1, 2}, default 1
            0 shows nothing; 1 a progress bar, on a terminal and with tqdm, for runs of more than
            a second; 2 one line an epoch.
        seed : int, optional
            Makes the order of the samples reproducible.

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

        Notes
        -----
        Ctrl-C ends the fit within about a tenth of a second; the steps taken so far stay, and
        ``history.stopped`` says so.

        **Data larger than memory.** While the kernel trains on one chunk of samples, a thread reads and
        checks the next; no more than these two are in memory. X may be

        - a `numpy.memmap`, or an array with `shape` and `dtype` that gives its rows for ``X[start:stop]``
          (HDF5, zarr); y is the same or an ordinary array. A chunk is about 64 MB of rows in the
          network's dtype, and whole batches: without shuffling, the steps are bit for bit those on an
          array (but for the random numbers of dropout and noise). What fits into one chunk is read
          once, and then is an array.
        - an iterable of chunks ``(X, y)`` or ``(X, y, sample_weight)``, each of which ends with a short
          batch. A generator lasts for one epoch; for more, give a function that returns a new one.

        `shuffle` takes the samples within a chunk in random order, and the chunks of arrays, not those
        of an iterable; samples that are sorted on disk should be mixed there. The loss is the mean over
        all samples of the epoch, as are the metrics ``accuracy``, ``top_k``, ``mse``, ``mae`` and
        ``log_loss``; others are measured on the validation data only, which are in memory. With an
        iterable, `validation_split` and ``class_weight="balanced"`` are refused, and a schedule with
        ``per="epoch"`` counts the epochs of this call. `Standardize` measures all rows of an array, in a
        pass of its own, and the first chunk of an iterable. A bad chunk is an error that names it, after the
        steps on those before. A `Checkpoint` resumes at the epoch, if an iterable gives the same chunks
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
        return fit(
            self, X, y, epochs, batch_size, validation_data, validation_split, shuffle, sample_weight,
            class_weight, metrics, callbacks, verbose, seed,
        )  # fmt: skip

    def partial_fit(self, X: Any, y: Any, batch_size: int = 32, sample_weight: Any = None) -> float:
        """One epoch on these rows, in their order; returns the mean loss. The optimiser goes on where it was."""
        history = self.fit(
            X, y, batch_size=batch_size, sample_weight=sample_weight, shuffle=False, verbose=0
        )  # fmt: skip
        return history["loss"][0]

    def predict(self, X: Any) -> Array:
        """The network's outputs (n_samples, n_outputs) for rows X."""
        plan = self._current_plan()
        if self._is_sample(X, plan, plan.row):
            return self._output(X, "X", plan, plan.output_row)
        if (
            type(X) is np.ndarray
            and X.dtype is plan.dtype
            and X.flags.carray
            and X.shape[1:] == plan.row[1:]
            and len(X)
        ):
            return self._outputs(X, unchecked=True)
        return self._outputs(feature_rows(X, "X", plan.row[1], plan.dtype))

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n_samples, n_classes), for losses that imply one.

        Raises
        ------
        TypeError
            If the loss is none of classes.
        """
        return np.asarray(self.loss_function.probabilities(self.predict(X)))

    def predict_classes(self, X: Any) -> Array:
        """The class of each row, ints (n_samples,)."""
        return np.asarray(self.loss_function.classes(self.predict(X)))

    def evaluate(self, X: Any, y: Any, metrics: Iterable[str | Callable[..., float]] = ()) -> dict[str, float]:
        """The mean loss and the metrics on rows X, by name."""
        return Samples.of(self, X, y).scores(self, named_metrics(metrics))

    def get_weights(self) -> list[tuple[Array, ...]]:
        """Copies of the arrays of every layer: of a `Layer` the weights (outs, ins) and biases (outs, 1)."""
        return [tuple(array.copy() for array in layer.arrays().values()) for layer in self.layers]

    def set_weights(self, weights: Sequence[Sequence[Any]]) -> None:
        """Set the arrays of every layer, as `get_weights` returns them.

        Raises
        ------
        ValueError, TypeError
            If the number of layers or arrays, a shape or a dtype does not fit; nothing is set then.
        """
        weights = [tuple(arrays) for arrays in weights]
        places = [layer.arrays() for layer in self.layers]
        if [len(arrays) for arrays in weights] != [len(names) for names in places]:
            have, want = ([len(arrays) for arrays in some] for some in (weights, places))
            raise ValueError(f"weights holds {have} arrays, layer by layer; expected {want}")
        before = self.get_weights()
        try:
            for layer, names, arrays in zip(self.layers, places, weights):
                for (name, place), array in zip(names.items(), arrays):
                    layer._assign(name, place, array)
        except (ValueError, TypeError):
            for names, arrays in zip(places, before):
                for place, array in zip(names.values(), arrays):
                    place[...] = array
            raise

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to one safetensors file (needs safetensors); `fastnn.load` reads it.

        The file holds weights, architecture, optimiser and its state. It is written beside `path`
        and then renamed, so that a crash leaves the old file or the new one, never half of one.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.safetensors``.

        Raises
        ------
        TypeError
            If an activation, a loss or an optimiser of your own has an attribute that is no number,
            string or None.
        """
        saving.save(self, path)

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
        return table(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(table(self))}</pre>"


def table(net: NeuralNetwork) -> str:
    """See `NeuralNetwork.summary`."""
    lines = ["layer       ins    outs  parameters     bytes  activation"]
    total = 0
    for i, layer in enumerate(net.layers):
        count = layer.parameter_count
        total += count
        note = repr(getattr(layer, "act_function", layer)) + ("" if layer.trainable else "  (not trainable)")
        lines.append(f"{i:<5}{layer.ins:10}{layer.outs:8}{count:12,}{count * net.dtype.itemsize:10,}  {note}")
    lines.append(f"total{total:30,}{total * net.dtype.itemsize:10,}  {net.dtype}, {net.loss_function!r}")
    return "\n".join(lines)


def load(path: str | os.PathLike[str], custom: Iterable[type] = ()) -> NeuralNetwork:
    """Read a network from a file that `NeuralNetwork.save` wrote.

    Parameters
    ----------
    path
        The file.
    custom : classes, optional
        Your own activations, losses, optimisers and schedules that the network uses; a file can
        name a class, and never bring or import one.

    Returns
    -------
    NeuralNetwork
        It gives the same bits as the saved one, and goes on training where that one was.

    Raises
    ------
    ValueError
        If the file is damaged, of another format, or names a class that is neither fastnn's nor
        in `custom`.

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
    return saving.load(path, custom, NeuralNetwork)
