"""Initialisers of weights: functions of (outs, ins, rng) that return an array (outs, ins).

A layer takes one by name or as a function; by default its activation names it. The classic
rules keep the variance of the signals through the layers: forward and backward on average
(Glorot), forward (LeCun), forward through rectifiers, which halve it (He).

Biases are drawn, too, unless they are told to begin at zero: units whose kinks or bends all lie at the same place,
where their inputs are 0, take long to part, or never do (`initializer_of_biases`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import positive_integer, shown

Array = np.ndarray[Any, np.dtype[np.float64]]
Initializer = Callable[[int, int, np.random.Generator], Array]


def _normal(variance: Callable[[int, int], float]) -> Initializer:
    return lambda outs, ins, rng: rng.normal(0.0, np.sqrt(variance(outs, ins)), (outs, ins))


def _uniform(variance: Callable[[int, int], float]) -> Initializer:
    def draw(outs: int, ins: int, rng: np.random.Generator) -> Array:
        limit = np.sqrt(3.0 * variance(outs, ins))  # a uniform variable on [-l, l] has variance l**2 / 3
        return rng.uniform(-limit, limit, (outs, ins))

    return draw


def _he(outs: int, ins: int) -> float:
    return 2.0 / ins


def _glorot(outs: int, ins: int) -> float:
    return 2.0 / (ins + outs)


def _lecun(outs: int, ins: int) -> float:
    return 1.0 / ins


def orthogonal(outs: int, ins: int, rng: np.random.Generator) -> Array:
    """A matrix with orthonormal rows or columns (Saxe, McClelland and Ganguli 2014)."""
    q, r = np.linalg.qr(rng.normal(size=(max(outs, ins), min(outs, ins))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return q if outs >= ins else q.T


def article(outs: int, ins: int, rng: np.random.Generator) -> Array:
    """The article's own: normal with standard deviation 1 / (outs * ins)."""
    return rng.normal(0.0, 1.0 / (outs * ins), (outs, ins))


def standard_normal(outs: int, ins: int, rng: np.random.Generator) -> Array:
    """N(0, 1), whatever the size: of biases in NTK parametrisation."""
    return rng.normal(size=(outs, ins))


def zeros(outs: int, ins: int, rng: np.random.Generator) -> Array:
    """Zeros."""
    return np.zeros((outs, ins))


INITIALIZERS: dict[str, Initializer] = {
    "he_normal": _normal(_he),  # He, Zhang, Ren and Sun 2015
    "he_uniform": _uniform(_he),
    "glorot_normal": _normal(_glorot),  # Glorot and Bengio 2010
    "glorot_uniform": _uniform(_glorot),
    "lecun_normal": _normal(_lecun),  # LeCun, Bottou, Orr and Mueller 1998
    "lecun_uniform": _uniform(_lecun),
    "orthogonal": orthogonal,
    "standard_normal": standard_normal,
    "article": article,
    "zeros": zeros,
}
"""Initialisers by name."""


def initializer(choice: str | Initializer, argument: str = "init") -> Initializer:
    """The initialiser that `choice` names or is."""
    if callable(choice) and not isinstance(choice, type):  # a class would make an object, not an array
        return choice
    if isinstance(choice, str) and choice in INITIALIZERS:
        return INITIALIZERS[choice]
    raise ValueError(
        f"{argument} is {shown(choice)}; expected one of {', '.join(INITIALIZERS)}, or a function (outs, ins, rng)"
    )


def initializer_of_biases(choice: str | Initializer | None, weights: Initializer, ins: int) -> Initializer:
    """The initialiser of the biases of a layer with `ins` inputs, whose weights `weights` draws.

    Parameters
    ----------
    choice : str or callable, optional
        What the user chose for the biases. By default they are uniform within 1 / sqrt(ins), PyTorch's rule, or what
        the weights are where those are the article's, or zeros.
    weights : callable
    ins : int
        A rule for the biases cannot ask the array for it: their column has the length (outs, 1).
    """
    if choice is not None:
        return initializer(choice, "bias_init")
    if weights in (article, zeros):
        return weights
    limit = 1.0 / np.sqrt(ins)
    return lambda outs, columns, rng: rng.uniform(-limit, limit, (outs, columns))


def generator(seed: Any) -> np.random.Generator:
    """The generator that `seed` is, or makes: an integer of at least 0, a Generator, or None for a fresh one."""
    try:
        if isinstance(seed, (bool, np.bool_)):
            raise TypeError
        return np.random.default_rng(seed)
    except Exception as error:  # NumPy shows it, which may raise anything
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"seed is {shown(seed)}; expected an integer of at least 0, a Generator or None") from error


def create_weight_matrix(nrows: int, ncols: int) -> Array:
    """The article's weights: normally distributed, standard deviation 1 / (nrows * ncols)."""
    return article(positive_integer(nrows, "nrows"), positive_integer(ncols, "ncols"), np.random.default_rng())


def create_bias_vector(length: int) -> Array:
    """The article's biases: a column (length, 1), standard deviation 1 / length."""
    return create_weight_matrix(positive_integer(length, "length"), 1)
