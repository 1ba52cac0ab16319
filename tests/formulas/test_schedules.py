"""Schedules against their definitions, and PyTorch's where it has them."""

import numpy as np
import pytest

from fastnn import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    StepDecay,
    WarmUp,
)


def rates(schedule, steps=12, steps_per_epoch=3):
    whole = schedule.rates(0, steps, steps_per_epoch)
    parts = [schedule.rates(i, i + 1, steps_per_epoch) for i in range(steps)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))  # however the run is cut
    return whole


def test_simple_ones():
    assert rates(Constant(0.5)).tolist() == [0.5] * 12
    np.testing.assert_allclose(rates(StepDecay(1.0, every=2, gamma=0.1)), [1] * 6 + [0.1] * 6)
    np.testing.assert_allclose(rates(ExponentialDecay(1.0, 0.5)), np.repeat([1, 0.5, 0.25, 0.125], 3))
    np.testing.assert_allclose(rates(ExponentialDecay(1.0, 0.5, per="step")), 0.5 ** np.arange(12))
    np.testing.assert_allclose(rates(InverseTimeDecay(1.0, 1.0)), 1 / (1 + np.arange(12)))
    np.testing.assert_allclose(rates(InverseTimeDecay(2.0, 1.0, power=0.5)), 2 / np.sqrt(1 + np.arange(12)))


def test_cosine():
    half = 0.5 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(rates(CosineDecay(1.0, 4)), [*half, *[0] * 8], atol=1e-15)
    np.testing.assert_allclose(rates(CosineDecay(1.0, 4, final=0.1)), 0.1 + 0.9 * np.array([*half, *[0] * 8]))
    np.testing.assert_allclose(rates(CosineDecay(1.0, 4, restarts=True)), np.tile(half, 3), atol=1e-15)
    longer = 0.5 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(rates(CosineDecay(1.0, 4, restarts=True, growth=2.0)), [*half, *longer], atol=1e-12)


def test_warm_up():
    schedule = WarmUp(CosineDecay(2.0, 4), 4)
    np.testing.assert_allclose(rates(schedule)[:4], [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(rates(schedule)[4:8], CosineDecay(2.0, 4).rates(0, 4, 1))


def test_one_cycle_equals_pytorchs():
    # torch.optim.lr_scheduler.OneCycleLR(max_lr=1.0, total_steps=10), PyTorch 2.13
    expected = [0.04, 0.52, 1.0, 0.950484629, 0.811745653, 0.611262261, 0.388741739, 0.188258347, 0.0495193709, 4e-6]
    np.testing.assert_allclose(OneCycle(1.0, 10).rates(0, 10, 1), expected, rtol=1e-4)
    assert np.all(OneCycle(1.0, 10).rates(10, 20, 1) == pytest.approx(4e-6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "lr is -1.0"),
        (lambda: Constant(1.0, per="batch"), "per is 'batch'"),
        (lambda: StepDecay(1.0, every=0), "every is 0"),
        (lambda: CosineDecay(1.0, steps=2.5), "steps is 2.5"),
        (lambda: CosineDecay(1.0, 4, growth=0.5), "growth is 0.5"),
        (lambda: OneCycle(1.0, 10, rise=1.0), "rise is 1.0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
