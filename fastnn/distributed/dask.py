"""Data-parallel training on Dask: the chunks of a collection stay on the workers, tasks carry weights and gradients.

`fit` is the door. ``dask_run`` makes the tasks of an epoch of what ``replica`` does on a worker, and ``cluster`` is all
that there is of a client.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..checks import positive_integer, shown
from ..data.rows import ClassWeight
from ..network import NeuralNetwork
from ..training.callbacks import Callback
from ..training.epochs import split_seed, take_epochs, warn_of_idleness, weighed_samples
from ..training.history import History
from ..training.settings import Metrics, Settings
from .cluster import Cluster
from .dask_run import DaskRun


def fit(
    net: NeuralNetwork,
    X: Any,
    y: Any = None,
    epochs: int = 1,
    batch_size: int = 32,
    *,
    every: int = 1,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    validation_shuffle: bool = True,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    metrics: Metrics = (),
    train_metrics: bool | None = None,
    callbacks: Iterable[Callback] | Callback | None = (),
    verbose: int = 1,
    seed: int | None = None,
    client: Any = None,
) -> History:
    """Train a network on the rows of a Dask collection, on the workers where its chunks are (needs distributed).

    Parameters
    ----------
    net : NeuralNetwork
        It has the new weights afterwards, as after ``net.fit``; callbacks see it after every epoch.
    X : dask Array, dask DataFrame, or list of Delayed or Future
        One sample a row. Of a list each item is a chunk: what may be X of ``net.fit``, or ``(X, y)`` or
        ``(X, y, sample_weight)`` where `y` is None. A chunk without rows is passed over.
    y : dask Array, Series or DataFrame, or list of Delayed or Future, optional
        The targets, in the same chunks as X; a dask Array is cut to those of X where their lengths are known.
    epochs : int, default 1
    batch_size : int, default 32
        Of all workers together, at most. The batches are as few as that allows, and their sizes differ by one at most.
    every : int, default 1
        1: the gradients of a batch are added up over the workers, and one step is taken. k: each worker takes k steps
        on its share of k batches, and then the weights, and the optimiser's numbers, are averaged by how many rows
        each had.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Arrays in memory, or Dask's, which stay where they are.
    validation_split : float, default 0.0
        That part of the rows is held out: of each chunk its share, which stays where it is.
    validation_shuffle : bool, default True
        Whether the rows to be held out are drawn, by the seed, from each class its share; or they are the last ones.
    shuffle : bool, default True
        Whether each epoch takes the rows of each chunk in a new random order.
    sample_weight : like y, optional
    class_weight, metrics, train_metrics, callbacks, verbose, seed
        As of `NeuralNetwork.fit`. Metrics on Dask's data are those that are means over rows; on the training rows
        they are of the outputs before each step, for ``every=1`` as in inference.
    client : distributed.Client, optional
        By default the current one.

    Returns
    -------
    History

    Warns
    -----
    UserWarning
        If `validation_split` leaves no sample of a class for training or validation.

    Raises
    ------
    ImportError
        If distributed is not installed, or a worker has another fastnn.
    ValueError, TypeError
        If an argument does not fit, or a chunk, which the error names; or there is no client. The network is unchanged
        then. What is raised on a worker is raised here.
    DivergedError
        As of `NeuralNetwork.fit`.
    RuntimeError
        If workers die again and again, or took chunks with them that Dask cannot make again.

    Notes
    -----
    **Batches** have rows of every chunk, in proportion to its size: they are dealt out from all chunks in turn. So they
    are the same for any number of workers, and with ``every=1`` the result is, to rounding; with ``shuffle=False`` and
    chunks of equal size it is that of ``net.fit`` on the rows in that order. Every step counts each row of the batch
    once, whatever the sizes of the chunks. With ``every=k`` the result depends on which chunks lie on one worker.

    **Layers.** `Standardize` and `StandardizeTargets` measure all chunks. `BatchNorm` normalises over the rows that a
    batch has of one chunk, of which there must be two, and its running averages are averaged; dropout and noise depend
    on seed, step and chunk. With ``every=k``, on the share of a worker.

    **Workers that die.** Dask makes their chunks again elsewhere, and takes the steps again that were under way, from
    weights that the client has: those of some seconds ago at most. Nothing else changes. Chunks that the client
    had scattered cannot be made again: there is an error, and the network has the weights of these steps.

    **Ctrl-C** ends the fit; the network has the weights that the client had last.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from fastnn import Adam, CrossEntropyLoss, Identity, Layer, NeuralNetwork, ReLU
    >>> from fastnn.distributed.dask import fit
    >>> net = NeuralNetwork([Layer(2, 16, ReLU(), seed=0), Layer(16, 2, Identity(), seed=1)],
    ...                     CrossEntropyLoss(), 0.02, Adam())
    >>> with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0"):
    ...     X = dask.array.random.default_rng(0).normal(size=(600, 2), chunks=(200, 2))
    ...     y = (X[:, 0] * X[:, 1] > 0).astype(int)
    ...     history = fit(net, X, y, epochs=20, batch_size=60, metrics=["accuracy"], seed=0)
    >>> history["accuracy"][-1] > 0.9
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
    if not isinstance(net, NeuralNetwork):
        raise TypeError(f"net is {shown(net)}; expected a NeuralNetwork")
    if settings.validation_split:
        drawn = split_seed(settings, settings.seed, settings.callbacks)
        settings = replace(settings, split_seed=drawn, seed=settings.seed if drawn is None else drawn)
    every = positive_integer(every, "every")
    cluster = Cluster(client)
    warn_of_idleness(net.engine)
    run = DaskRun(net.engine, cluster, X, y, settings, every)
    held_out = None
    if settings.validation_data is not None and not run.validates:
        held_out = weighed_samples(run.form, settings.validation_data, " of validation_data")
    history = History()
    take_epochs(net, run, settings, None, held_out, history)
    return history
