"""exp, expm1, tanh, log1p, maximum, minimum and where inside formulas, against NumPy."""

import numpy as np
import pytest

from fastnn import ActivationFunction
from fastnn.kernels.blocks import activation_blocks
from fastnn.kernels.compiling import kernel
from fastnn.kernels.fields import parameter_values
from fastnn.kernels.memory import call, pointer_to


@kernel
def run_block(address, parameters, y, x):
    call(address, pointer_to(parameters), pointer_to(y), pointer_to(x), y.size)


def compiled(activation, x):
    """`activation.f` of all of x, by the compiled block."""
    out = np.empty_like(x)
    run_block(activation_blocks(activation, x.dtype)[0], parameter_values(activation, x.dtype), x, out)
    return out


class Exp(ActivationFunction):
    def f(self, x):
        return np.exp(x)

    def df(self, x):
        return np.exp(x)


class Expm1(Exp):
    def f(self, x):
        return np.expm1(x)


class Tanh(Exp):
    def f(self, x):
        return np.tanh(x)


class Log1p(Exp):
    def f(self, x):
        return np.log1p(x)


def everywhere(dtype):
    """Numbers of every size, both signs, and what is not a number."""
    small = np.logspace(-300, 2.9, 20001)
    dense = np.linspace(-120, 120, 200001)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 88.7, 88.8, -103.9, -104.1, 709.7, 709.8, -745.1, -745.2])
    near = 1 + np.concatenate([small[:6000], -small[:6000]])  # 1, and numbers beside it
    limits = np.finfo(dtype)
    ends = np.array([-1, 1, limits.tiny, limits.tiny / 2, limits.smallest_subnormal, limits.max, -1 + limits.epsneg])
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate([small, -small, dense, near, -near, special, ends]).astype(dtype)


@pytest.mark.parametrize(
    ("activation", "exact", "ulps"),
    [(Exp, np.exp, 1), (Expm1, np.expm1, 2), (Tanh, np.tanh, 3), (Log1p, np.log1p, 1)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_in_units_in_the_last_place(activation, exact, ulps, dtype):
    x = everywhere(dtype)
    ours = compiled(activation(), x)
    with np.errstate(all="ignore"):
        # float64 has digits to spare for float32; for float64 take the wider type where there is one
        best = exact(x.astype(np.longdouble if dtype is np.float64 else np.float64))
        rounded = best.astype(dtype)
        finite = np.isfinite(rounded)
        error = np.abs(ours - best)[finite] / np.spacing(np.abs(rounded[finite]))
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(rounded))
    np.testing.assert_array_equal(ours[np.isinf(rounded)], rounded[np.isinf(rounded)])
    assert error.max() <= ulps


class Selections(ActivationFunction):
    """Uses all selections, with every mixture of types that a formula may have."""

    def f(self, x):
        return np.maximum(x, 0) + np.minimum(2, x) + np.where(x > 1, x, 5) + np.maximum(x > 0, 0.25)

    def df(self, x):
        return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_selections_equal_numpy_even_for_nan(dtype):
    x = np.array([-np.inf, -2, -0.0, 0.0, 0.5, 1, 1.5, 3, np.inf, np.nan], dtype)
    ours, numpys = compiled(Selections(), x), Selections().f(x)
    np.testing.assert_array_equal(ours[:8], numpys[:8])
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(numpys))
