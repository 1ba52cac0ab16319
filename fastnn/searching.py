"""The methods that look for something: for a learning rate."""

from __future__ import annotations

from typing import Any

from .article import ArticleNetwork
from .training.lr_finder import LRCurve, find_lr


class SearchingNetwork(ArticleNetwork):
    """A network with this method; `fastnn.NeuralNetwork` is this and more."""

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
