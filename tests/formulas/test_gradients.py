"""Formulas and gradients against finite differences, which know nothing of backpropagation."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import ACTIVATIONS, LOSSES, problems, targets_for

from fastnn import CrossEntropyLoss, HuberLoss, Layer, LeakyReLU, MAELoss, NeuralNetwork

KINKS = {"LeakyReLU": [0], "ReLU": [0], "ReLU6": [0, 6], "HardTanh": [-1, 1]}


def central(function, x, h=1e-6):
    return (function(x + h) - function(x - h)) / (2 * h)


def examples(classes):
    return [pytest.param(cls.example, id=cls.__name__) for cls in classes]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_df_is_the_derivative_of_f(activation):
    act = activation.example()
    x = np.linspace(-8, 8, 1001) + 1e-4
    for kink in KINKS.get(activation.__name__, []):
        x = x[np.abs(x - kink) > 1e-3]
    np.testing.assert_allclose(act.df(x), central(act.f, x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_formulas_keep_the_dtype_and_survive_large_numbers(activation, dtype):
    act = activation.example()
    x = np.array([-1e4, -700, -90, -1, 0, 1, 90, 700, 1e4], dtype)
    assert act.f(x).dtype == dtype
    for values in (act.f(x), act.df(x)):
        assert values.shape == x.shape
        assert np.all(np.isfinite(values))


@pytest.mark.parametrize("loss", [*examples(LOSSES), lambda: CrossEntropyLoss(0.2), lambda: HuberLoss(0.3)])
def test_dloss_is_the_gradient_of_loss(loss):
    rng = np.random.default_rng(1)
    loss, values = loss(), rng.normal(size=(5, 1))
    target = targets_for(loss, 5, 1, rng)
    target = target if target.ndim == 2 else int(target[0])
    numeric = np.empty_like(values)
    for i in range(5):
        step = np.zeros_like(values)
        step[i] = 1e-6
        numeric[i] = (loss.loss(values + step, target) - loss.loss(values - step, target)) / 2e-6
    np.testing.assert_allclose(loss.dloss(values, target), numeric, rtol=1e-6, atol=1e-8)


WITH_ROW = [loss for loss in LOSSES if hasattr(loss, "row")]


@pytest.mark.parametrize("loss", [*examples(WITH_ROW), lambda: CrossEntropyLoss(0.2)])
def test_the_fused_row_form_equals_loss_and_dloss(loss):
    rng = np.random.default_rng(2)
    loss = loss()
    for outs in (1, 2, 7):
        values = rng.normal(scale=30, size=(outs, 1))
        target = targets_for(loss, outs, 1, rng)
        target, row_target = (target, target[:, 0]) if target.ndim == 2 else (int(target[0]), int(target[0]))
        d = np.empty(outs)
        with np.errstate(over="ignore"):
            assert loss.row(values[:, 0], row_target, d) == pytest.approx(loss.loss(values, target), rel=1e-12)
            np.testing.assert_allclose(d, loss.dloss(values, target)[:, 0], rtol=1e-12, atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(problems(max_width=6, max_n=5))
def test_network_gradients_against_finite_differences(problem):
    net, x, t = problem
    if isinstance(net.loss_function, (MAELoss, HuberLoss)):
        return  # their own kinks; covered above
    _, dWs, dbs, loss = net.gradients(x, t)
    h = 1e-6

    def loss_now():
        return net.loss(net.forward_pass(x), t)

    assert loss_now() == pytest.approx(loss, rel=1e-10, abs=1e-12)
    for layer, dW, db in zip(net.layers, dWs, dbs):
        for place, gradient in ((layer.weights, dW), (layer.biases, db)):
            at = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
            kept = place[at]
            place[at] = kept + h
            above = loss_now()
            place[at] = kept - h
            below = loss_now()
            place[at] = kept
            one_sided = sorted([(above - loss) / h, (loss - below) / h])
            # between the two one-sided slopes: equal to both where the network is smooth
            margin = 1e-5 + 1e-4 * abs(gradient[at])
            assert one_sided[0] - margin <= gradient[at] <= one_sided[1] + margin


def test_gradient_with_respect_to_the_input():
    net = NeuralNetwork([Layer(3, 4, LeakyReLU(), seed=0), Layer(4, 2, LeakyReLU(), seed=1)], LOSSES[0].example(), 0.1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 6))
    t = targets_for(net.loss_function, 2, 6, rng)
    dx = net.gradients(x, t).dxs[0]
    for i in range(3):
        for j in range(6):
            step = np.zeros_like(x)
            step[i, j] = 1e-6
            slope = (net.gradients(x + step, t).loss - net.gradients(x - step, t).loss) / 2e-6
            assert dx[i, j] == pytest.approx(slope, rel=1e-5, abs=1e-9)
