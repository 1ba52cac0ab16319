"""Optimisers: one update rule each, as a formula for one parameter.

This is the whole definition of an optimiser. The reference runs the formula on arrays; the
kernels compile the same text into a loop over all parameters. Your own subclass works in the
same way.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import between_zero_and_one, flag, fraction, not_negative, positive_number, shown
from .component import Component, is_built_in

Number = Any  # a NumPy array, or inside a kernel one number


_RATES = ("lr", "learning_rate")  # as other libraries' optimisers call what the network has here
_WHOSE = (
    "The learning rate is the network's: NeuralNetwork(..., learning_rate=0.01), net.lr = 0.01, or learning_rate_init "
    "of an estimator"
)


class Optimizer(Component, ABC):
    """An optimiser: subclass it, write `update`, and name its `state`.

    Numbers of ``self`` may be used and changed at any time, and numbers in arrays of it.
    `fastnn.check_gradients` checks the gradients that `update` gets; of `update` itself it knows nothing.

    Attributes
    ----------
    state : mapping of str to float
        The numbers that are kept for every parameter, in the order in which `update` takes and
        returns them, and what they are before the first step.
    usual_lr : float
        The learning rate that `fastnn.mlp` takes where none is given.

    Examples
    --------
    >>> from fastnn import Optimizer
    >>> class SignDescent(Optimizer):
    ...     state = {"m": 0.0}
    ...     def update(self, w, g, lr, step, m):
    ...         m = 0.9 * m + 0.1 * g
    ...         return w - lr * np.sign(m), m
    """

    state: Mapping[str, float] = {}
    usual_lr: float = 1e-3
    elsewhere = {"lbfgs": "it goes by all samples at once: call net.fit_lbfgs(X, y)"}
    of_numbers = ("update",)

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        # elsewhere an optimiser's first argument is the learning rate, and here a number by place would be a momentum
        rate = next((name for name in _RATES if name in settings), None)
        maker = next(one for one in cls.__mro__ if "__init__" in vars(one))
        if is_built_in(maker) and (args or rate is not None):
            names = [name for name in inspect.signature(maker.__init__).parameters if name != "self"]  # type: ignore[misc]
            named = ", ".join(f"{name}={value!r}" for name, value in zip(names, args))
            came = f"{rate}={settings[rate]!r} came" if rate else f"{args[0]!r} came without one"
            raise TypeError(
                f"{cls.__name__} takes its settings by name, and {came}; expected {cls.__name__}({named}). {_WHOSE}"
            )
        return super().__new__(cls, *args, **settings)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _RATES and is_built_in(type(self)):
            came = f"{type(self).__name__}.{name} is {shown(value)}"
            raise AttributeError(f"{came}, which would change nothing; expected it elsewhere. {_WHOSE}")
        super().__setattr__(name, value)

    @abstractmethod
    def update(self, w: Number, g: Number, lr: Number, step: Number, *state: Number) -> Any:
        """The parameter after one step, and its state: ``w``, or ``(w, *state)``.

        Parameters
        ----------
        w, g
            The parameter and its gradient.
        lr
            The learning rate of this step.
        step
            The number of this step, from 1, as a float.
        *state
            The numbers of `state`.
        """

    @property
    def is_plain_descent(self) -> bool:
        """Whether `update` is ``w - lr * g``: kernels then fuse it with the gradient product."""
        return False


def descends_plainly(optimizer: Optimizer) -> bool:
    """Whether `is_plain_descent` says so, and the update, which a subclass may have changed since, agrees."""
    if not optimizer.is_plain_descent:
        return False
    w, g, lr = np.array([-1.5, 0.25, 2.0]), np.array([0.5, -1.0, 3.0]), 0.375
    state = [np.full(3, float(start)) for start in optimizer.state.values()]
    result = optimizer.update(w.copy(), g.copy(), lr, 1.0, *state)
    return bool(np.allclose(result[0] if isinstance(result, tuple) else result, w - lr * g))


def moves_zeros(optimizer: Optimizer) -> bool:
    """Whether one of the first steps changes a parameter that is 0 and has no gradient, as a noisy rule may."""
    w, numbers = np.zeros(1), [np.full(1, float(start)) for start in optimizer.state.values()]
    for step in range(1, 4):
        with np.errstate(all="ignore"):
            result = optimizer.update(w, np.zeros(1), 1.0, float(step), *numbers)
        w, numbers = (result[0], list(result[1:])) if numbers else (result, [])
        if np.any(w != 0):
            return True
    return False


def gradient_power(optimizer: Optimizer) -> float:
    """The power of the gradient with which steps grow: 1 for SGD, 0 for Adam, whose steps do not depend on its size."""
    sizes = []
    for scale in (1.0, 1024.0):
        w, numbers = np.zeros(1), [np.full(1, float(start)) for start in optimizer.state.values()]
        for step in range(1, 33):  # the first ones may be of another kind, as RAdam's are
            with np.errstate(all="ignore"):
                result = optimizer.update(w, np.full(1, scale), 1e-3, float(step), *numbers)
            before, (w, *numbers) = w, result if numbers else (result,)
        sizes.append(abs(float(w[0] - before[0])))
    usual = 0 < sizes[0] < np.inf and 0 < sizes[1] < np.inf
    return round(float(np.log2(sizes[1] / sizes[0])) / 10, 1) if usual else 0.0


class SGD(Optimizer):
    """Gradient descent, with momentum if asked.

    Parameters
    ----------
    momentum : float, default 0.0
        How much of the last step is kept, below 1.
    nesterov : bool, default False
        Nesterov's form, which looks one step ahead.
    weight_decay : float, default 0.0
        Added to the gradient, times the parameter.

    References
    ----------
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in
    deep learning" (2013).
    """

    usual_lr = 0.01
    checked = {"momentum": fraction, "nesterov": flag, "weight_decay": not_negative}

    def __init__(self, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    state = {"v": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, v: Number) -> Any:
        g = g + self.weight_decay * w
        v = self.momentum * v + g
        d = np.where(self.nesterov, g + self.momentum * v, v)
        return w - lr * d, v

    @property
    def is_plain_descent(self) -> bool:
        """Whether neither momentum nor weight decay is used."""
        return self.momentum == 0 and self.weight_decay == 0


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient.

    Parameters
    ----------
    rho : float, default 0.99
        How slowly the mean square forgets.
    eps : float, default 1e-8
        Added to the root.
    momentum, weight_decay : float, default 0.0
        As in `SGD`.
    centered : bool, default False
        Divide by the standard deviation instead.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: RMSprop" (2012).
    """

    checked = {
        "rho": fraction,
        "eps": not_negative,
        "momentum": fraction,
        "weight_decay": not_negative,
        "centered": flag,
    }

    def __init__(
        self,
        *,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.rho = rho
        self.eps = eps
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centered = centered

    state = {"s": 0.0, "mean": 0.0, "v": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, s: Number, mean: Number, v: Number) -> Any:
        g = g + self.weight_decay * w
        s = self.rho * s + (1 - self.rho) * g * g
        mean = self.rho * mean + (1 - self.rho) * g
        variance = np.where(self.centered, np.maximum(s - mean * mean, 0), s)
        v = self.momentum * v + g / (np.sqrt(variance) + self.eps)
        return w - lr * v, s, mean, v


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients.

    Parameters
    ----------
    lr_decay, weight_decay : float, default 0.0
        Decay of the learning rate, lr / (1 + (step - 1) * lr_decay); weight decay as in `SGD`.
    eps : float, default 1e-10
        Added to the root.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization" (2011).
    """

    usual_lr = 0.01
    checked = {"lr_decay": not_negative, "weight_decay": not_negative, "eps": not_negative}

    def __init__(self, *, lr_decay: float = 0.0, weight_decay: float = 0.0, eps: float = 1e-10) -> None:
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.eps = eps

    state = {"s": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, s: Number) -> Any:
        g = g + self.weight_decay * w
        s = s + g * g
        return w - lr / (1 + (step - 1) * self.lr_decay) * g / (np.sqrt(s) + self.eps), s


class Adadelta(Optimizer):
    """Steps in the parameter's own unit, from running mean squares of gradients and steps.

    Parameters
    ----------
    rho : float, default 0.9
        How slowly the mean squares forget.
    eps : float, default 1e-6
        Added under the roots.
    weight_decay : float, default 0.0
        As in `SGD`. (The usual learning rate is 1.)

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method" (2012).
    """

    usual_lr = 1.0
    checked = {"rho": fraction, "eps": not_negative, "weight_decay": not_negative}

    def __init__(self, *, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> None:
        self.rho = rho
        self.eps = eps
        self.weight_decay = weight_decay

    state = {"s": 0.0, "u": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, s: Number, u: Number) -> Any:
        g = g + self.weight_decay * w
        s = self.rho * s + (1 - self.rho) * g * g
        d = np.sqrt(u + self.eps) / np.sqrt(s + self.eps) * g
        u = self.rho * u + (1 - self.rho) * d * d
        return w - lr * d, s, u


class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start at zero.

    Parameters
    ----------
    beta1, beta2 : float, default 0.9 and 0.999
        How slowly the two means forget.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0.0
        Added to the gradient, times the parameter (`AdamW` decays the parameter itself).

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """

    checked = {"beta1": fraction, "beta2": fraction, "eps": not_negative, "weight_decay": not_negative}

    def __init__(
        self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.eps = eps
        self.weight_decay = weight_decay

    state = {"m": 0.0, "v": 0.0}

    def moved(self, w: Number, lr: Number, step: Number, m: Number, v: Number) -> Any:
        """w - lr m' / (sqrt(v') + eps), with m' = m / (1 - beta1**step) and v' = v / (1 - beta2**step)."""
        root = np.sqrt(1 - self.beta2**step)  # taken out of the denominator: one division less
        return w - lr * root / (1 - self.beta1**step) * m / (np.sqrt(v) + self.eps * root)

    def update(self, w: Number, g: Number, lr: Number, step: Number, m: Number, v: Number) -> Any:
        g = g + self.weight_decay * w
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        return self.moved(w, lr, step, m, v), m, v


class AdamW(Adam):
    """Adam with decoupled weight decay: the parameter shrinks by lr * weight_decay each step.

    Parameters
    ----------
    beta1, beta2, eps
        As in `Adam`.
    weight_decay : float, default 0.01
        How fast parameters shrink.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """

    def __init__(
        self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
    ) -> None:
        super().__init__(beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def update(self, w: Number, g: Number, lr: Number, step: Number, m: Number, v: Number) -> Any:
        w = w - lr * self.weight_decay * w
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        return self.moved(w, lr, step, m, v), m, v


class AMSGrad(Adam):
    """Adam whose mean square never falls, which mends a flaw in Adam's proof of convergence.

    Parameters
    ----------
    beta1, beta2, eps, weight_decay
        As in `Adam`.

    References
    ----------
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (2018).
    """

    state = {"m": 0.0, "v": 0.0, "top": 0.0}

    def update(  # type: ignore[override]
        self, w: Number, g: Number, lr: Number, step: Number, m: Number, v: Number, top: Number
    ) -> Any:
        g = g + self.weight_decay * w
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        top = np.maximum(top, v)
        return self.moved(w, lr, step, m, top), m, v, top


class NAdam(Adam):
    """Adam with Nesterov's momentum.

    Parameters
    ----------
    beta1, beta2, eps, weight_decay
        As in `Adam`.
    momentum_decay : float, default 4e-3
        How fast the momentum approaches beta1.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """

    checked = {"momentum_decay": not_negative}

    def __init__(
        self,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
    ) -> None:
        super().__init__(beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
        self.momentum_decay = momentum_decay

    state = {"m": 0.0, "v": 0.0, "product": 1.0}

    def mu(self, step: Number) -> Number:
        """The momentum of a step."""
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def update(  # type: ignore[override]
        self, w: Number, g: Number, lr: Number, step: Number, m: Number, v: Number, product: Number
    ) -> Any:
        g = g + self.weight_decay * w
        now, ahead = self.mu(step), self.mu(step + 1)
        product = product * now  # of the momenta of all steps so far
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        mean = (1 - now) / (1 - product) * g + ahead / (1 - product * ahead) * m
        return w - lr * mean / (np.sqrt(v / (1 - self.beta2**step)) + self.eps), m, v, product


class RAdam(Adam):
    """Adam that waits until its mean square can be trusted, and warms up by itself.

    Parameters
    ----------
    beta1, beta2, eps, weight_decay
        As in `Adam`.

    References
    ----------
    Liu, Jiang, He, Chen, Liu, Gao and Han, "On the variance of the adaptive learning rate and
    beyond" (2020).
    """

    def update(self, w: Number, g: Number, lr: Number, step: Number, m: Number, v: Number) -> Any:
        g = g + self.weight_decay * w
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        power = self.beta2**step
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * step * power / (1 - power)
        trusted = length > 5
        safe = np.where(trusted, length, 6)  # where it is not, the root below has no meaning
        rectified = (safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)
        adaptive = np.sqrt(rectified * (1 - power)) / (np.sqrt(v) + self.eps)
        return w - lr * m / (1 - self.beta1**step) * np.where(trusted, adaptive, 1), m, v


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of a momentum.

    Parameters
    ----------
    beta1, beta2 : float, default 0.9 and 0.99
        Weight of the momentum in the step, and how slowly it forgets.
    weight_decay : float, default 0.0
        As in `AdamW`. (The usual learning rate is a third to a tenth of AdamW's.)

    References
    ----------
    Chen, Liang, Huang et al., "Symbolic discovery of optimization algorithms" (2023).
    """

    usual_lr = 1e-4
    checked = {"beta1": fraction, "beta2": fraction, "weight_decay": not_negative}

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.weight_decay = weight_decay

    state = {"m": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, m: Number) -> Any:
        d = np.sign(self.beta1 * m + (1 - self.beta1) * g)
        return w - lr * (d + self.weight_decay * w), self.beta2 * m + (1 - self.beta2) * g


class RProp(Optimizer):
    """iRPROP-: a step size of its own for each parameter, from the signs of its gradients.

    For the full batch only (``batch_size=N``). The learning rate is the first step size.

    Parameters
    ----------
    shrink, grow : float, default 0.5 and 1.2
        Factors of a step size when the sign changes, and when it stays.
    smallest, largest : float, default 1e-6 and 50
        Limits of a step size.

    References
    ----------
    Igel and Huesken, "Improving the Rprop learning algorithm" (2000).
    """

    usual_lr = 0.01
    checked = {
        "shrink": between_zero_and_one,
        "grow": positive_number,
        "smallest": not_negative,
        "largest": not_negative,
    }

    def __init__(
        self, *, shrink: float = 0.5, grow: float = 1.2, smallest: float = 1e-6, largest: float = 50.0
    ) -> None:
        self.shrink, self.grow = shrink, grow
        if not self.shrink < 1 < self.grow:
            raise ValueError(f"shrink and grow are {shrink} and {grow}; expected 0 < shrink < 1 < grow")
        self.smallest, self.largest = smallest, largest

    state = {"size": 0.0, "last": 0.0}

    def update(self, w: Number, g: Number, lr: Number, step: Number, size: Number, last: Number) -> Any:
        size = np.where(step == 1, lr, size)
        turned = g * last < 0
        factor = np.where(g * last > 0, self.grow, np.where(turned, self.shrink, 1))
        size = np.minimum(np.maximum(size * factor, self.smallest), self.largest)
        g = np.where(turned, 0, g)
        return w - np.sign(g) * size, size, g
