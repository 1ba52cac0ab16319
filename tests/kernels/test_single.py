"""A single sample: zeros of a wide input are left out, and nothing else changes."""

import numpy as np
import pytest

from fastnn import Identity, Layer, LeakyReLU, MSELoss, NeuralNetwork, reference
from fastnn.kernels.compiling import kernel
from fastnn.kernels.memory import pointer_to
from fastnn.kernels.products import DEPTH
from fastnn.kernels.single import WIDE, find_nonzero


@kernel
def run_find_nonzero(x, places, counts):
    find_nonzero(pointer_to(x), x.size, pointer_to(places), pointer_to(counts))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("ins", [1, 7, WIDE, DEPTH - 1, DEPTH, DEPTH + 1, 784])
def test_find_nonzero(dtype, density, ins):
    rng = np.random.default_rng(ins)
    x = np.where(rng.random(ins) < density, rng.normal(size=ins), -0.0).astype(dtype)
    x[rng.random(ins) < density / 10] = np.nan
    places, counts = np.full(ins, -1), np.full(-(-ins // DEPTH), -1)
    run_find_nonzero(x, places, counts)
    for piece, first in enumerate(range(0, ins, DEPTH)):
        expected = first + np.flatnonzero(x[first : first + DEPTH])
        np.testing.assert_array_equal(places[first : first + counts[piece]], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ins", [WIDE - 1, WIDE, 300, 784])
@pytest.mark.parametrize("hidden", [3, 16, 70, 130])  # one vector, two, and more than eight
def test_rows_without_and_full_of_zeros(dtype, ins, hidden):
    rng = np.random.default_rng(0)
    layers = [Layer(ins, hidden, LeakyReLU(), seed=0), Layer(hidden, 3, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.01, dtype=dtype)
    slow = reference.copy_of(net)
    x, t = rng.normal(size=(ins, 40)), rng.normal(size=(3, 40))
    for column, density in enumerate(np.resize([0.0, 1.0, 0.2, 0.01], 40)):
        x[rng.random(ins) >= density, column] = 0.0
    alone = [net.forward_pass(x[:, i : i + 1]) for i in range(40)]
    np.testing.assert_array_equal(np.hstack(alone), net.forward_pass(x))
    net.train(x, t, epochs=2)
    slow.train(x, t, epochs=2)
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for layer, expected in zip(net.layers, slow._layers):
        np.testing.assert_allclose(layer.weights, expected._W, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(layer.biases, expected._b, rtol=tolerance, atol=tolerance)


def test_a_zero_of_a_wide_input_does_not_touch_its_weights():
    net = NeuralNetwork([Layer(WIDE, 2, Identity(), seed=0)], MSELoss(), 0.1)
    net.layers[0].weights[:, 5] = np.inf
    x = np.ones((WIDE, 1))
    x[5] = 0.0
    assert np.all(np.isfinite(net.forward_pass(x)))
    net.train(x, np.zeros((2, 1)))
    assert np.all(np.isinf(net.layers[0].weights[:, 5]))
    assert np.all(np.isfinite(np.delete(net.layers[0].weights, 5, axis=1)))
