"""Finite differences against the compiled gradient: for formulas of your own.

Each formula is tried by itself, in a network of its own around it, on the numbers that it gets in the network: the
``df`` of an activation against its ``f``, the ``dloss`` of a loss against its ``loss``, the backward kernel of a stage
against its forward kernel, and the compiled text against what NumPy makes of it. Then the network as a whole.
"""

from __future__ import annotations

import functools
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import Array, flag, positive_number, seed as checked_seed, shown
from .data.samples import Samples
from .data.tables import column_names
from .derivatives import (
    GradientRow,
    Part,
    activation_parts,
    loss_parts,
    network_parts,
    of_numbers,
    off_kinks,
    stage_parts,
)
from .formulas.activations import ActivationFunction
from .layers.dense import Layer
from .layers.noise import noise_key
from .layers.stage import Stage
from .layers.targets import StandardizeTargets
from .network import NeuralNetwork


class GradientError(ArithmeticError):
    """A gradient is not that of its formula; the message names the class and the method.

    Attributes
    ----------
    report : GradientCheck
        The whole report.
    """

    def __init__(self, message: str, report: GradientCheck | None = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """What `check_gradients` found; ``print`` shows it as a table.

    Attributes
    ----------
    rows : tuple of GradientRow
        Formula by formula, then layer by layer.
    faults : tuple of str
        What is wrong, in sentences that name class and method; the first cause comes first.
    rtol : float
        The largest relative error that is taken.
    """

    rows: tuple[GradientRow, ...]
    faults: tuple[str, ...]
    rtol: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def __repr__(self) -> str:
        head = ("where", "derivative", "compared", "largest relative error")
        cells = [head, *((row.place, row.what, str(row.compared), f"{row.error:.1e}") for row in self.rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(3)]
        bad = ["", *("" if row.error <= self.rtol else "  wrong" for row in self.rows)]
        verdict = f"Gradients are right (rtol = {self.rtol:g})" if self.ok else "Gradients are wrong"
        table = [
            f"  {a.ljust(widths[0])}  {b.ljust(widths[1])}  {c.rjust(widths[2])}  {d}{mark}"
            for (a, b, c, d), mark in zip(cells, bad)
        ]
        return "\n".join([verdict, *table, *(f"  {fault}" for fault in self.faults)])


def check_gradients(
    net: NeuralNetwork,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    training: bool = True,
    seed: int = 0,
    rtol: float = 1e-4,
    raises: bool = True,
) -> GradientCheck:
    """Compare the gradients of a network with finite differences: for activations, losses and stages of your own.

    Each formula is tried by itself on the numbers that it gets in the network, and the error names the class and
    the method whose derivative is wrong; so are the compiled formulas against NumPy. Then the loss of the whole
    network is differentiated by some numbers of every array. All is done in float64 on a copy: the network, its
    running averages and its optimiser stay as they are.

    Parameters
    ----------
    net : NeuralNetwork
    X, y : array_like
        Samples, as in `NeuralNetwork.fit`: some 10 to 100 will do.
    sample_weight : array_like (n_samples,), optional
        Weights of the samples' losses.
    training : bool, default True
        Whether dropout, noise and batch normalisation act as in training.
    seed : int, default 0
        Of their random numbers.
    rtol : float, default 1e-4
        The largest relative error that is taken.
    raises : bool, default True
        Whether a wrong gradient is an error; otherwise see the `ok` of what is returned.

    Returns
    -------
    GradientCheck
        A table of the largest errors, by formula and by layer and array.

    Raises
    ------
    GradientError
        If a gradient is wrong; it has the report.
    FormulaError
        If a formula cannot be compiled.
    TypeError, ValueError
        If `net` is no `NeuralNetwork`, or another argument does not fit.

    Notes
    -----
    At a kink, as that of ReLU at 0, any number between the two one-sided derivatives is right. Where many kinks meet
    and nothing can be said, inputs and weights are moved by a thousandth, and tried again. Penalties
    (`l1`, `l2`) and optimisers have no part in it. Frozen layers have no gradient of their own, but their activations
    are tried, too. In a float32 network the formulas are compared with themselves in float32 as well.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import ActivationFunction, Layer, MSELoss, NeuralNetwork, check_gradients
    >>> class Softsign(ActivationFunction):
    ...     def f(self, x):
    ...         return x / (1 + np.abs(x))
    ...     def df(self, x):
    ...         return 1 / (1 + np.abs(x))  # the square is missing
    >>> net = NeuralNetwork([Layer(2, 3, Softsign(), seed=0), Layer(3, 1, Softsign(), seed=1)], MSELoss(), 0.1)
    >>> X = np.random.default_rng(0).normal(size=(10, 2))
    >>> check_gradients(net, X, X[:, 0])
    Traceback (most recent call last):
    ...
    fastnn.gradient_check.GradientError: Softsign.df is not the derivative of Softsign.f: ...
    """
    if not isinstance(net, NeuralNetwork):
        raise TypeError(f"net is {shown(net)}; expected a NeuralNetwork (X and y come after it)")
    training, seed, raises = flag(training, "training"), checked_seed(seed), flag(raises, "raises")
    rtol = positive_number(rtol, "rtol")
    twin = NeuralNetwork(net.engine.alone(lambda: deepcopy(net.layers)), net.loss_function, 0.0, dtype="float64")
    twin.feature_names = net.feature_names
    form = twin.engine.form.named(column_names(X)).fitted_to_targets(y)
    samples = Samples.of_rows(form, X, y)
    weights = samples.weights(sample_weight)
    for index, layer in enumerate(twin.layers):
        if training and samples.size < layer.smallest_batch:
            raise ValueError(
                f"X has {samples.size} sample, but layers[{index}] is {layer!r}, which needs at least "
                f"{layer.smallest_batch} in training; give more, or training=False"
            )
    twin.engine.adapt(samples.rows)
    report = _checked(twin, net.dtype, samples, weights, training, seed, rtol)
    if raises and not report.ok:
        raise GradientError(f"{report.faults[0]}\n{report!r}", report)
    return report


def _checked(
    twin: NeuralNetwork,
    dtype: np.dtype[Any],
    samples: Samples,
    weights: Array | None,
    training: bool,
    seed: int,
    rtol: float,
) -> GradientCheck:
    parts: list[Part] = []
    points: dict[int, tuple[ActivationFunction, str, list[Array]]] = {}
    seen: set[int] = set()
    x = samples.rows.T
    with np.errstate(all="ignore"):
        for index, layer in enumerate(twin.layers):
            place = f"layers[{index}] {type(layer).__name__}"
            if isinstance(layer, Layer):
                act = layer.act_function
                y = np.dot(layer.weights, x) + layer.biases
                points.setdefault(id(act), (act, place, []))[2].append(y.ravel())
                x = of_numbers(act.f, y)
            elif isinstance(layer, Stage):
                if id(layer) not in seen and not isinstance(layer, StandardizeTargets):  # which passes numbers on
                    tried = functools.partial(stage_parts, layer, place, x, training, seed, rtol)
                    parts += off_kinks(tried)
                x = np.asarray(deepcopy(layer).forward(x, training, noise_key(seed, 0, index))[0], np.float64)
            seen.add(id(layer))
            if not np.all(np.isfinite(x)):
                row = GradientRow(place, "outputs", x.size, np.inf)
                fault = f"The outputs of layers[{index}], {layer!r}, are not all finite: there is no gradient to check"
                return GradientCheck((row,), (fault,), rtol)
        for act, place, ys in points.values():
            parts += activation_parts(act, place, np.concatenate(ys), dtype, rtol)
        parts += off_kinks(functools.partial(loss_parts, twin.loss_function, x, samples, dtype, rtol))
        formulas_right = not any(part.fault for part in parts)
        parts += off_kinks(functools.partial(network_parts, twin, samples, weights, training, seed, rtol))
    faults = [part.fault for part in parts if part.fault]
    if not formulas_right:  # what is wrong of the network as a whole follows from it
        faults = [fault for fault in faults if not fault.startswith("The gradient of the network")]
    return GradientCheck(tuple(part.row for part in parts), tuple(faults), rtol)
