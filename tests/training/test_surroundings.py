"""Sparse inputs, constant columns, single samples, and surroundings that lack something."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastnn.data.rows
import fastnn.data.sources
import fastnn.network
from fastnn import (
    BatchNorm,
    CrossEntropyLoss,
    ExponentialDecay,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    Standardize,
    Tanh,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(65, 3)) * (RNG.uniform(size=(65, 3)) < 0.4)
Y = X.sum(axis=1)


def network(*stages, dtype="float64"):
    return NeuralNetwork(
        [*stages, Layer(3, 4, Tanh(), seed=0), Layer(4, 1, Identity(), seed=1)], MSELoss(), 0.1, dtype=dtype
    )


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
@pytest.mark.parametrize("small", [False, True])
def test_sparse_rows_are_dense_ones(kind, small, monkeypatch):
    sparse = getattr(pytest.importorskip("scipy.sparse"), kind)(X)
    if small:  # chunks of a batch, blocks of a row or few
        monkeypatch.setattr(fastnn.data.sources, "CHUNK_BYTES", 300)
        monkeypatch.setattr(fastnn.network, "CHUNK_BYTES", 300)
        monkeypatch.setattr(fastnn.data.rows, "SPARSE_NUMBERS", 7)
    one, other = network(), network()
    one.fit(X, Y, 3, batch_size=8, shuffle=False, verbose=0)
    other.fit(sparse, Y, 3, batch_size=8, shuffle=False, verbose=0, validation_data=(sparse, Y))
    assert one.allclose(other, 0, 0)
    assert np.array_equal(one.predict(X), one.predict(sparse))
    assert one.evaluate(X, Y) == one.evaluate(sparse, Y)
    with pytest.raises(ValueError, match="X has 2 columns"):
        one.predict(sparse.tocsr()[:, :2])
    with pytest.raises(TypeError, match="x is a sparse"):
        one.forward_pass(sparse)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_constant_column_is_only_shifted(dtype):
    rows = np.column_stack(
        [np.full(1000, 14.62), RNG.normal(size=1000) * 1e-30, np.where(np.arange(1000) % 2, 0.3, 0.1 + 0.2)]
    )
    net = network(Standardize(), dtype=dtype)
    net.fit(rows, np.zeros(1000), verbose=0)
    scale = net.layers[0].row("scale").ravel()
    assert scale[0] == scale[2] == 1
    assert scale[1] == pytest.approx(1e30, rel=0.1)
    rows[:, 0] = 14.63
    assert net.evaluate(rows, np.zeros(1000))["loss"] < 10


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.fit(X, Y, batch_size=32, verbose=0),
        lambda net: net.fit(X, Y, batch_size=1, verbose=0),
        lambda net: net.partial_fit(X[:1], Y[:1]),
        lambda net: net.train(X.T, Y[None]),
    ],
)
def test_a_batch_of_one_under_batch_norm_is_refused(call):
    net = network(BatchNorm())
    before = net.get_weights()
    with pytest.raises(ValueError, match=r"batch_size.*BatchNorm"):
        call(net)
    assert all(np.array_equal(a, b) for p, q in zip(before, net.get_weights()) for a, b in zip(p, q))
    net.fit(X, Y, batch_size=31, verbose=0)


@pytest.mark.parametrize("stream", [None, object()])
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_streams_that_are_none(stream, verbose, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    assert len(network().fit(X, Y, 2, verbose=verbose).epoch) == 2


def test_without_compiling_there_is_one_clear_word():
    code = "import os; os.environ['NUMBA_DISABLE_JIT'] = '1'; import fastnn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "NUMBA_DISABLE_JIT is set" in done.stderr


@pytest.mark.parametrize("size", [10**7, 10**12])
def test_a_layer_that_no_memory_holds(size):
    with pytest.raises(MemoryError, match=rf"ins is {size} and outs is {size}.*bytes"):
        Layer(size, size, Tanh())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_underflow_of_ours_is_the_callers(dtype, tmp_path):
    rows = X.copy()
    rows[0] = 1e-300
    layers = [Standardize(), Layer(3, 2, Identity(), seed=0)]
    net = NeuralNetwork(layers, CrossEntropyLoss(), ExponentialDecay(1e-3, 0.5), dtype=dtype)
    with np.errstate(all="raise"):
        net.fit(rows, np.arange(65) % 2, 2, verbose=0, validation_split=0.2)
        net.engine.state.steps[0] = 10**6  # the rate is too small for a number
        net.partial_fit(rows, np.arange(65) % 2)
        net.layers[1].biases[...] = [[1000], [-1000]]
        assert net.predict_proba(rows)[0].tolist() == [1, 0]
        net.evaluate(rows, np.arange(65) % 2)
        net.save(tmp_path / "net.safetensors")
