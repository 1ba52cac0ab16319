"""The blocks of losses: any number of outputs and samples, one by one or together."""

import numpy as np
import pytest

from fastnn import BCEWithLogitsLoss, HuberLoss, MSELoss, PoissonNLLLoss
from fastnn.kernels.blocks import loss_block
from fastnn.kernels.compiling import kernel
from fastnn.kernels.fields import parameter_values
from fastnn.kernels.memory import call, pointer_to


@kernel
def run(address, parameters, x, t, dx, losses, apart):
    call(
        address, pointer_to(parameters), pointer_to(x), pointer_to(t), pointer_to(dx), t.shape[0], t.shape[1],
        x.shape[1], pointer_to(losses), apart,
    )  # fmt: skip


def losses_of(loss, x, t, apart=1):
    """The losses of samples whose outputs lie in wider rows, and their gradients; what is beside them stays."""
    dx, losses = np.full_like(x, 7), np.zeros(len(t) if apart else 1)
    run(loss_block(loss, x.dtype, False), parameter_values(loss, x.dtype), x, t, dx, losses, apart)
    np.testing.assert_array_equal(dx[:, t.shape[1] :], 7)
    return losses, dx[:, : t.shape[1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [BCEWithLogitsLoss(), PoissonNLLLoss(), MSELoss(), HuberLoss(0.5)], ids=repr)
@pytest.mark.parametrize("outs", [1, 2, 7, 31, 32, 33, 63, 64, 65, 128, 150])
def test_losses_and_gradients_in_any_company(dtype, loss, outs):
    rng = np.random.default_rng(outs)
    for count in (1, 2, 63, 64, 65, 130):
        x = rng.normal(size=(count, outs + 3)).astype(dtype)
        t = rng.integers(0, 2, (count, outs)).astype(dtype)
        losses, dx = losses_of(loss, x, t)
        values = x[:, :outs].astype(float)
        tolerance = 50 * np.finfo(dtype).eps
        np.testing.assert_allclose(losses, loss.f(values, t).mean(axis=1), tolerance, tolerance)
        np.testing.assert_allclose(dx, loss.df(values, t) / outs, tolerance, tolerance)
        alone = [losses_of(loss, x[i : i + 1], t[i : i + 1]) for i in range(count)]
        np.testing.assert_array_equal(losses, np.concatenate([one for one, _ in alone]))
        np.testing.assert_array_equal(dx, np.concatenate([d for _, d in alone]))
        together, _ = losses_of(loss, x, t, apart=0)
        np.testing.assert_allclose(together, losses.sum(), rtol=1e-12)
