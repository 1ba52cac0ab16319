"""A layer: its weights, its biases and its activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array, one_of, positive_integer, positive_number
from ..formulas.activations import ActivationFunction
from ..formulas.initializers import Initializer, generator, initializer, initializer_of_biases, zeros
from ..formulas.names import named
from ..formulas.optimizers import Optimizer, gradient_power
from ..kernels.cpu import padded
from ..room import room
from .base import BaseLayer, aligned_zeros, assign, float_dtype


class Layer(BaseLayer):
    """The connections between two sets of neurons: ``x = f(W x + b)``.

    Parameters
    ----------
    ins, outs : int
        Numbers of inputs and outputs.
    act_function : ActivationFunction or str
        The activation f: an object, or the name of one that needs no arguments, such as "relu", "leaky_relu",
        "tanh", "sigmoid" or "identity". An attribute, which may be changed later.
    init : str or callable, optional
        Initialiser of W: a name (see `fastnn.INITIALIZERS`) or a function (outs, ins, rng) that
        returns an array (outs, ins). By default the activation chooses: Glorot's, or LeCun's for
        `Identity` and `SELU`. ``"article"`` draws W and b as the article does, ``"zeros"`` leaves both at 0.
    bias_init : str or callable, optional
        The same for b, called as (outs, 1, rng); by default uniform between -1 / sqrt(ins) and 1 / sqrt(ins), as
        in PyTorch. ``"zeros"`` lets them start at 0.
    seed : int, numpy.random.Generator or None
        Where the random numbers come from; None draws fresh ones.
    dtype : "float64" or "float32", default "float64"
        Type of W and b; `NeuralNetwork` can change it.
    l1, l2 : float, default 0.0
        Penalties that training adds to the loss: ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)``.
    max_norm : float, optional
        After each step, weights of a unit whose norm is larger are scaled down to it
        (Srebro, Rennie and Jaakkola 2005).
    trainable : bool, default True
        Whether training changes W and b.
    lr_factor, bias_lr_factor : float, default 1.0
        By which the learning rate is multiplied for W, and for b: above 0.
    parametrization : {"standard", "ntk"}, default "standard"
        Under ``"ntk"`` the layer trains as ``f(V x / sqrt(ins) + b)`` does, with V and b drawn from N(0, 1), so that
        one learning rate suits all widths (Jacot, Gabriel and Hongler 2018). `weights` are still W = V / sqrt(ins),
        and only their first values and their rate are other ones: a step of V moves W by 1 / sqrt(ins) of it
        (Adam), or by 1 / ins where steps grow as the gradient does (SGD). These seven are attributes, and may be
        changed later.

    Attributes
    ----------
    weights, W, _W : ndarray (outs, ins)
    biases, b, _b : ndarray (outs, 1)
        Views of the layer's own memory. Write into them, or assign an array, at any time: the
        next step uses the new values.

    Raises
    ------
    TypeError, ValueError
        If `ins` or `outs` is not a positive integer, `act_function` is no `ActivationFunction` and no name of one,
        or `init` is unknown or returns another shape.

    Examples
    --------
    >>> from fastnn import Layer, LeakyReLU
    >>> layer = Layer(2, 3, LeakyReLU(), seed=0)
    >>> layer.weights.shape, layer.biases.shape
    ((3, 2), (3, 1))
    """

    checked = {
        "act_function": lambda value, name: named(ActivationFunction, value, name),
        "bias_lr_factor": positive_number,
        "parametrization": one_of("standard", "ntk"),
    }
    act_function: ActivationFunction
    bias_lr_factor: float = 1.0
    parametrization: str = "standard"
    _unwatched = frozenset({"_W", "_b", "weights", "biases", "W", "b"})  # the numbers are the kernels' own to look at

    def __init__(
        self,
        ins: int,
        outs: int,
        act_function: ActivationFunction | str,
        *,
        init: str | Initializer | None = None,
        bias_init: str | Initializer | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: np.typing.DTypeLike = "float64",
        l1: float = 0.0,
        l2: float = 0.0,
        max_norm: float | None = None,
        trainable: bool = True,
        lr_factor: float = 1.0,
        bias_lr_factor: float = 1.0,
        parametrization: str = "standard",
    ) -> None:
        self._ins, self._outs = positive_integer(ins, "ins"), positive_integer(outs, "outs")
        self.act_function = named(ActivationFunction, act_function, "act_function")
        self.l1, self.l2, self.max_norm, self.trainable = l1, l2, max_norm, trainable
        self.lr_factor, self.bias_lr_factor, self.parametrization = lr_factor, bias_lr_factor, parametrization
        dtype = float_dtype(dtype)
        ntk = self.parametrization == "ntk"
        draw_W = initializer(init if init is not None else "lecun_normal" if ntk else self.act_function.init)
        if ntk and bias_init is None and draw_W is not zeros:
            bias_init = "standard_normal"
        draw_b = initializer_of_biases(bias_init, draw_W, self.ins)
        count = (self.ins + 1) * padded(self.outs, dtype)
        drawn = 0 if draw_W is zeros else 8 * self.ins * self.outs  # in float64
        with room(count * dtype.itemsize + drawn, f"a layer of ins {self.ins} and outs {self.outs}", "a smaller layer"):
            self._memory = aligned_zeros(count, dtype)
        rng = generator(seed)
        for name, place, draw in (("init", self._W, draw_W), ("bias_init", self._b, draw_b)):
            if draw is not zeros:  # which it holds; a network from a file takes no more memory than it needs
                assign(f"what {name} returned", place, draw(place.shape[0], place.shape[1], rng))

    @property
    def memory_rows(self) -> int:
        """The rows of W, transposed, (ins, outs), and one for b."""
        return self.ins + 1

    @property
    def is_plain(self) -> bool:
        """Whether it has neither a penalty nor a limit, nor a rate of its own."""
        free = self.l1 == 0 and self.l2 == 0 and self.max_norm is None
        return free and self.lr_factor == self.bias_lr_factor == 1 and self.parametrization == "standard"

    def lr_factors(self, optimizer: Optimizer) -> tuple[float, float]:
        """Under "ntk" c = 1 / sqrt(ins) for W = c V, and as often again as the step goes with the gradient, c dW."""
        power = 1 + gradient_power(optimizer) if self.parametrization == "ntk" else 0
        return self.lr_factor * self.ins ** (-0.5 * power), self.bias_lr_factor

    @property
    def shape(self) -> tuple[int, int]:
        """The rows of W', and one for b."""
        return self.ins + 1, self.stride

    def arrays(self) -> dict[str, Array]:
        """W (outs, ins) and b (outs, 1)."""
        return {"W": self._W, "b": self._b}

    @property
    def _W(self) -> Array:
        return self._memory.reshape(self.ins + 1, -1)[:-1, : self.outs].T

    @_W.setter
    def _W(self, values: Any) -> None:
        assign("W", self._W, values)
        self.wipe_padding()

    @property
    def _b(self) -> Array:
        return self._memory.reshape(self.ins + 1, -1)[-1, : self.outs].reshape(self.outs, 1)

    @_b.setter
    def _b(self, values: Any) -> None:
        assign("b", self._b, values)
        self.wipe_padding()

    weights, biases = W, b = _W, _b

    def forward_pass(self, x: Any) -> Array:
        """``f(W x + b)`` for columns x (ins, N), as the article writes it, in NumPy.

        Returns
        -------
        ndarray (outs, N)
        """
        return np.asarray(self.act_function.f(np.dot(self._W, x) + self._b))

    def __repr__(self) -> str:
        return f"Layer({self.ins}, {self.outs}, {self.act_function!r})"
