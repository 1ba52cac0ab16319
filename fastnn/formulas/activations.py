"""Activation functions: one class each, with ``f`` and its derivative ``df`` as NumPy formulas.

This is the whole definition of an activation. NumPy runs the formulas on arrays (the reference,
`Layer.forward_pass`), and the same text is compiled into the kernels. Your own subclass works in
the same way, with no decorator and no registration; see `ActivationFunction`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..checks import finite_number, share
from .component import Component

Array = Any  # a NumPy array of any float dtype, or inside a kernel one number


class ActivationFunction(Component, ABC):
    """An activation: subclass it, write `f` and `df`.

    Write both with arithmetic, comparisons and NumPy functions that work element by element.
    Numbers of ``self`` may be used and changed at any time; methods and module-level functions may be
    called. So may arrays of numbers, one number at a time or in a loop over them all: coefficients, knots.
    A list or tuple that a formula reads becomes an array when it is set. `fastnn.check_gradients` holds `df`
    against `f`.

    A third method is for speed alone: ``df_of_f(self, x, f)``, the derivative at x where f(x) is known
    already, as ``1 - f**2`` is that of tanh. The kernels take it in the place of `df`.

    Attributes
    ----------
    init : str
        The name of the initialiser that `Layer` takes for weights in front of this activation:
        Glorot's, unless the activation asks for another (SELU and Identity take LeCun's). He's
        larger weights for rectifiers, ``init="he_normal"`` of a layer, suit very deep networks;
        with up to six layers of ReLU, Glorot's gave the better scores on all data we tried.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import ActivationFunction, Layer, MSELoss, NeuralNetwork
    >>> class Softsign(ActivationFunction):
    ...     def f(self, x):
    ...         return x / (1 + np.abs(x))
    ...     def df(self, x):
    ...         return 1 / (1 + np.abs(x))**2
    >>> net = NeuralNetwork([Layer(2, 3, Softsign()), Layer(3, 1, Softsign())], MSELoss(), 0.1)
    >>> loss = net.train(np.ones((2, 1)), np.zeros((1, 1)))
    """

    init: str = "glorot_normal"
    elsewhere = {
        "softmax": "CrossEntropyLoss has it inside, and predict_proba applies it: take 'identity' here, and "
        "'cross_entropy' as the loss"
    }

    @abstractmethod
    def f(self, x: Array) -> Array:
        """The activation of the pre-activation x, element by element."""

    @abstractmethod
    def df(self, x: Array) -> Array:
        """Its derivative at the pre-activation x, element by element."""

    of_numbers = ("f", "df")


class Identity(ActivationFunction):
    """f(x) = x, for the last layer of a regression, or under a loss on logits."""

    called = ("identity", "linear")
    init = "lecun_normal"

    def f(self, x: Array) -> Array:
        return x * 1

    def df(self, x: Array) -> Array:
        return x * 0 + 1


class LeakyReLU(ActivationFunction):
    """f(x) = max(x, leaky_param * x), the article's activation.

    Parameters
    ----------
    leaky_param : float, default 0.1
        Slope for negative x, from 0 to 1. It may be changed at any time.

    Attributes
    ----------
    alpha : float
        `leaky_param` by the name that the article's class gives it, to read and to write.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    Examples
    --------
    >>> from fastnn import LeakyReLU
    >>> act = LeakyReLU(0.2)
    >>> act.alpha = act.alpha / 2
    >>> act
    LeakyReLU(leaky_param=0.1)
    """

    called = ("leaky_relu",)
    checked = {"leaky_param": share, "alpha": share}

    def __init__(self, leaky_param: float = 0.1) -> None:
        self.leaky_param = leaky_param

    @property
    def alpha(self) -> float:
        """Slope for negative x: the article's name of `leaky_param`."""
        return self.leaky_param

    @alpha.setter
    def alpha(self, value: float) -> None:
        self.leaky_param = value

    def f(self, x: Array) -> Array:
        return np.maximum(x, x * self.leaky_param)

    def df(self, x: Array) -> Array:
        return np.maximum(x > 0, self.leaky_param)


class ReLU(ActivationFunction):
    """f(x) = max(x, 0).

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """

    def f(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def df(self, x: Array) -> Array:
        return np.where(x > 0, 1, 0)


class ReLU6(ActivationFunction):
    """f(x) = min(max(x, 0), 6).

    References
    ----------
    Krizhevsky, "Convolutional deep belief networks on CIFAR-10" (2010).
    """

    def f(self, x: Array) -> Array:
        return np.minimum(np.maximum(x, 0), 6)

    def df(self, x: Array) -> Array:
        return np.where((x > 0) & (x < 6), 1, 0)


class HardTanh(ActivationFunction):
    """f(x) = min(max(x, -1), 1).

    References
    ----------
    Collobert, "Large scale machine learning" (2004).
    """

    called = ("hard_tanh",)

    def f(self, x: Array) -> Array:
        return np.minimum(np.maximum(x, -1), 1)

    def df(self, x: Array) -> Array:
        return np.where((x > -1) & (x < 1), 1, 0)


class Sigmoid(ActivationFunction):
    """f(x) = 1 / (1 + exp(-x)), in a form that overflows nowhere."""

    called = ("sigmoid", "logistic")

    def f(self, x: Array) -> Array:
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, e) / (1 + e)

    def df(self, x: Array) -> Array:
        e = np.exp(-np.abs(x))
        return e / (1 + e) ** 2

    def df_of_f(self, x: Array, f: Array) -> Array:
        """With e = exp(-x), f = 1 / (1 + e) and the derivative is e / (1 + e)**2 = f (1 - f)."""
        return f * (1 - f)


class Tanh(ActivationFunction):
    """f(x) = tanh(x)."""

    def f(self, x: Array) -> Array:
        return np.tanh(x)

    def df(self, x: Array) -> Array:
        return 1 - np.tanh(x) ** 2

    def df_of_f(self, x: Array, f: Array) -> Array:
        """1 - tanh(x)**2."""
        return 1 - f**2


class ELU(ActivationFunction):
    """f(x) = x for x > 0, else alpha * (exp(x) - 1).

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the limit for large negative x.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units (ELUs)" (2016).
    """

    checked = {"alpha": finite_number}

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def f(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def df(self, x: Array) -> Array:
        return np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))

    def df_of_f(self, x: Array, f: Array) -> Array:
        """alpha exp(x) is f + alpha."""
        return np.where(x > 0, 1, f + self.alpha)


class SELU(ActivationFunction):
    """The self-normalising ELU: scale * x for x > 0, else scale * alpha * (exp(x) - 1).

    Its two constants make mean 0 and variance 1 a fixed point, with LeCun's initialisation.

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """

    init = "lecun_normal"

    def f(self, x: Array) -> Array:
        negative = 1.6732632423543772 * np.expm1(np.minimum(x, 0))
        return 1.0507009873554805 * np.where(x > 0, x, negative)

    def df(self, x: Array) -> Array:
        negative = 1.6732632423543772 * np.exp(np.minimum(x, 0))
        return 1.0507009873554805 * np.where(x > 0, 1, negative)

    def df_of_f(self, x: Array, f: Array) -> Array:
        """scale alpha exp(x) is f + scale alpha."""
        return np.where(x > 0, 1.0507009873554805, f + 1.7580993408473766)


class GELU(ActivationFunction):
    """x times the normal distribution function of x, in the usual tanh form.

    f(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))); it differs from the exact one
    by less than 5e-4 (PyTorch: ``approximate="tanh"``; JAX: the default).

    References
    ----------
    Hendrycks and Gimpel, "Gaussian error linear units (GELUs)" (2016).
    """

    def f(self, x: Array) -> Array:
        return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))

    def df(self, x: Array) -> Array:
        t = np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * 0.7978845608028654 * (1 + 0.134145 * x**2)


class ExactGELU(ActivationFunction):
    """x times the normal distribution function of x, exactly: the GELU of PyTorch and Keras by default.

    Their numbers are those of ``x * scipy.stats.norm.cdf(x)`` to a few units in the last place. `GELU`, which differs
    by less than 5e-4, takes a third of the time.

    References
    ----------
    Hendrycks and Gimpel (2016), as for `GELU`.
    """

    called = ("exact_gelu",)

    def tail(self, x: Array) -> Array:
        """The normal distribution function of -\\|x\\|, with z = \\|x\\| / sqrt(2) and t = 2 / (2 + z).

        It is t / 2 exp(p - z**2), where p is a Chebyshev series in t, multiplied out.
        """
        z = np.abs(x) * 0.7071067811865476
        t = 2 / (2 + z)
        u = 2 * t - 1
        p = 2.980513364515168e-08 * u + 7.992047577730608e-10
        p = (p * u - 2.895626567435524e-07) * u + 1.5975482569412025e-07
        p = (p * u + 1.283394915356199e-06) * u - 1.7128780471140371e-06
        p = (p * u - 2.963484230959699e-06) * u + 8.952692300720023e-06
        p = (p * u + 1.3989370477611051e-07) * u - 3.0421097531594203e-05
        p = (p * u + 3.174693542327236e-05) * u + 7.149530982602198e-05
        p = (p * u - 0.00017430412986925938) * u - 9.376035760297014e-05
        p = (p * u + 0.0006736791352568864) * u - 0.00014624252395767715
        p = (p * u - 0.002345812552995894) * u + 0.0017589331171176884
        p = (p * u + 0.008824938561312326) * u - 0.00987268934319109
        p = (p * u - 0.04689561023132892) * u + 0.04734330684142489
        p = (p * u + 0.6726432239776583) * u - 0.6717940840566906
        return 0.5 * t * np.exp(p - z * z)

    def f(self, x: Array) -> Array:
        q = self.tail(x)
        return x * np.where(x >= 0, 1 - q, q)

    def df(self, x: Array) -> Array:
        q = self.tail(x)
        return np.where(x >= 0, 1 - q, q) + x * 0.3989422804014327 * np.exp(-0.5 * x * x)


class SiLU(ActivationFunction):
    """f(x) = x * sigmoid(x), also called swish.

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning" (2018); Ramachandran, Zoph and Le (2017).
    """

    called = ("silu", "swish")

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x))."""
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, e) / (1 + e)

    def f(self, x: Array) -> Array:
        return x * self.sigmoid(x)

    def df(self, x: Array) -> Array:
        s = self.sigmoid(x)
        return s * (1 + x * (1 - s))


Swish = SiLU


class Softplus(ActivationFunction):
    """f(x) = log(1 + exp(x)), a smooth ReLU.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge
    for better option pricing" (2001).
    """

    def f(self, x: Array) -> Array:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def df(self, x: Array) -> Array:
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, e) / (1 + e)


class Mish(ActivationFunction):
    """f(x) = x * tanh(log(1 + exp(x))).

    References
    ----------
    Misra, "Mish: a self regularized non-monotonic activation function" (2019).
    """

    # With e = exp(x) and n = e (e + 2) the tanh is n / (n + 2): one exp and one division. At 20 it is 1, so that a
    # larger x needs no larger e, and nothing overflows.

    def f(self, x: Array) -> Array:
        e = np.exp(np.minimum(x, 20))
        n = e * (e + 2)
        return x * (n / (n + 2))

    def df(self, x: Array) -> Array:
        low = np.minimum(x, 20)
        e = np.exp(low)
        n = e * (e + 2)
        share = 1 / (n + 2)
        return share * (n + 4 * low * e * (e + 1) * share)
