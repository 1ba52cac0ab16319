"""The methods that look for something: for a learning rate, for the minimum over all samples, or let you look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .article import ArticleNetwork
from .data.columns import real_array
from .data.rows import feature_rows, target_rows
from .engine.gradients import trained, unpacked, vector_size, without_padding
from .training.history import History
from .training.lbfgs import fit_lbfgs
from .training.lr_finder import LRCurve, find_lr

Array = np.ndarray[Any, np.dtype[Any]]


class SearchingNetwork(ArticleNetwork):
    """A network with these methods; `fastnn.NeuralNetwork` is this and more."""

    @property
    def parameters(self) -> Array:
        """All that training changes, in one vector (n,): a copy. Assign a vector to set it.

        Layer by layer it holds the rows of the transposed weights, (ins, outs), and then the
        biases; of a normalising layer gamma and beta. A layer that stands in several places is in it once.
        """
        layers = trained(self.layers)
        return np.concatenate([without_padding(layer._memory, layer).ravel() for layer in layers])

    @parameters.setter
    def parameters(self, vector: Any) -> None:
        values = real_array(vector, "parameters")
        if values.shape != (vector_size(self.layers),):
            raise ValueError(f"parameters has shape {values.shape}; expected ({vector_size(self.layers)},)")
        for layer, part in zip(trained(self.layers), unpacked(values, self.layers)):
            layer._assign("parameters", without_padding(layer._memory, layer), part)

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
        plan = self._current_plan()
        rows = feature_rows(X, "X", plan.row[1], plan.dtype)
        count, outs = rows.shape[0], plan.output_row.shape[1]
        targets, classes = target_rows(y, "y", count, outs, self._loss_function, plan.dtype)
        own = self._gradient_plan(count)
        with own.lock:
            return own.vector(rows, targets, classes)

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
        return find_lr(self, X, y, lowest, highest, steps, batch_size, seed)

    def fit_lbfgs(
        self,
        X: Any,
        y: Any,
        max_iter: int = 200,
        *,
        tol: float = 1e-8,
        memory: int = 10,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
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
        return fit_lbfgs(self, X, y, max_iter, tol, memory, sample_weight, class_weight, callback)
