"""Kernels stay inside their memory, and there is no more of it than the plan says.

NaN lies before and after every array that they are given: a write beyond an array changes the NaN; a
read beyond one lets NaN into the results, which are then not those of the reference.
"""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import problems

from fastnn import (
    Adam,
    CrossEntropyLoss,
    Identity,
    MSELoss,
    NeuralNetwork,
    ReLU,
    get_num_threads,
    reference,
    set_num_threads,
)
from fastnn.data import form
from fastnn.engine import plan
from fastnn.kernels.cpu import padded, whole_vectors
from fastnn.kernels.descent import band_rows
from fastnn.layers import base, dense as layers
from fastnn.layers.base import aligned_zeros

GUARD = 32  # numbers on each side: more than two vectors


class Fences:
    """Makes arrays with NaN around them, and finds out whether it is still there."""

    def __init__(self):
        self.whole = []

    def aligned_zeros(self, count, dtype):
        whole = aligned_zeros(count + 2 * GUARD, dtype)
        whole[:GUARD] = whole[GUARD + count :] = np.nan
        self.whole.append(whole)
        return whole[GUARD : GUARD + count]

    def fenced_rows(self, make):
        def rows(*arguments):
            plain = make(*arguments)
            fenced = self.aligned_zeros(plain.size, plain.dtype).reshape(plain.shape)
            fenced[...] = plain
            return fenced

        return rows

    def stand(self):
        return all(np.all(np.isnan(whole[:GUARD])) and np.all(np.isnan(whole[-GUARD:])) for whole in self.whole)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(max_examples=40, deadline=None)
@given(data=st.data(), batch_size=st.integers(1, 20), shuffle=st.booleans())
def test_nothing_is_read_or_written_beyond_an_array(dtype, data, batch_size, shuffle):
    fences = Fences()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "aligned_zeros", fences.aligned_zeros)
        patch.setattr(base, "aligned_zeros", fences.aligned_zeros)
        patch.setattr(form, "rows_from_columns", fences.fenced_rows(form.rows_from_columns))
        net, x, t = data.draw(problems())
        net = NeuralNetwork(net.layers, net.loss_function, net.lr, dtype=dtype)
        slow = reference.copy_of(net)
        net.train(x, t, batch_size=batch_size, shuffle=shuffle, seed=1)
        out, gradients = net.forward_pass(x), net.gradients(x, t)
    slow.train(x, t, batch_size=batch_size, shuffle=shuffle, seed=1)
    assert fences.whole
    assert fences.stand()
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(out, slow.forward_pass(x), rtol=tolerance, atol=tolerance)
    assert all(np.all(np.isfinite(a)) for some in gradients[:3] for a in some)


def test_a_plan_keeps_its_size_in_training():
    rng = np.random.default_rng(0)
    net = NeuralNetwork([layers.Layer(30, 20, ReLU()), layers.Layer(20, 3, ReLU())], MSELoss(), 0.01)
    x, t = rng.normal(size=(30, 100)), rng.normal(size=(3, 100))
    net.train(x, t, batch_size=32)
    before = net.engine.plan()
    for _ in range(3):
        net.train(x, t, batch_size=32, epochs=2, shuffle=True)
        net.train(x[:, :1], t[:, :1])
    assert net.engine.plan() is before
    hidden, out = padded(20, "float64"), padded(3, "float64")
    samples = 32 * (4 * (hidden + out) + 30 + 3 + 1)  # y, x, dx, db; the batch and its losses
    others = whole_vectors(3, "float64") * hidden + 2 * (31 + 21) + 33 + 30  # Wt, two sums a row, two lists
    bands = before._team * max(band_rows(31, hidden) * hidden, band_rows(21, out) * out)
    assert 0 <= before.nbytes - 8 * (samples + others + bands) < 2048  # tables


@pytest.fixture
def one_thread():
    before = get_num_threads()
    set_num_threads(1)
    yield
    set_num_threads(before)


@pytest.mark.parametrize("optimizer", [None, Adam()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_takes_what_the_plan_says_whatever_the_epochs(optimizer, dtype, one_thread):
    """The peak of all that is allocated: the plan, the order of the samples, and what `fit` can go back to."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 200)).astype(dtype), rng.integers(0, 10, 3000)
    peaks = []
    for epochs in (1, 1, 2, 30):  # the first compiles and is not counted
        hidden, out = layers.Layer(200, 300, ReLU(), seed=0), layers.Layer(300, 10, Identity(), seed=1)
        net = NeuralNetwork([hidden, out], CrossEntropyLoss(), 0.01, optimizer, dtype=dtype)
        gc.collect()
        tracemalloc.start()
        net.fit(X, y, epochs=epochs, batch_size=100, seed=0, verbose=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    weights = hidden.memory.nbytes + out.memory.nbytes
    numbers = 2 * weights if optimizer else 0
    small = 2**17  # Python's own objects, tables, and the plan for one sample that came first
    least = net.engine.plan().nbytes + numbers + weights + X.shape[0] * 8
    for peak in peaks[1:]:  # epochs that are taken many at a time keep a copy of the optimiser's numbers too
        assert least - small < peak < least + numbers + small
    assert abs(peaks[3] - peaks[2]) < small + numbers
