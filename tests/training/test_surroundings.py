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
    NetworkBank,
    NeuralNetwork,
    Standardize,
    Tanh,
)
from fastnn.data.samples import Samples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(65, 3)) * (RNG.uniform(size=(65, 3)) < 0.4)
Y = X.sum(axis=1)


def on_disk(rows, each):
    """Rows that are read so many at a time."""

    class Rows:
        dtype, shape = rows.dtype, rows.shape

        def __getitem__(self, some):
            assert len(range(*some.indices(len(rows)))) <= each
            return rows[some]

    return Rows()


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
        lambda net: net.train(X.T, Y[None], batch_size=32),
        lambda net: net.fit(X, Y, batch_size=2, verbose=0),
        lambda net: net.fit(X, Y, batch_size=1, verbose=0),
        lambda net: net.partial_fit(X[:1], Y[:1]),
        lambda net: net.train(X.T, Y[None]),
        lambda net: net.gradients(X[:1].T, Y[None, :1], training=True),
        lambda net: net.engine.gradient(Samples.of_rows(net.engine.form, X[:1], Y[:1]), seed=0),
        lambda net: net.fit(on_disk(X, 8), Y, batch_size=2, verbose=0),
        lambda net: NetworkBank([net]).fit(X, Y, batch_size=2, verbose=0),
    ],
)
def test_a_batch_of_one_under_batch_norm_is_refused(call, monkeypatch):
    monkeypatch.setattr(fastnn.data.sources, "CHUNK_BYTES", 8 * 4 * 8)
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
    with pytest.raises(MemoryError, match=rf"ins {size} and outs {size} takes [\d,]+ bytes.*expected a smaller layer"):
        Layer(size, size, Tanh())


WIDE = 2**20
MANY = np.zeros((WIDE, 1))  # as many samples: 2**43 bytes of outputs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.fit(MANY, MANY, batch_size=WIDE, verbose=0), r"1,048,576 samples at a time"),
        (lambda net: net.train(MANY.T, MANY.T, batch_size=WIDE), r"1,048,576 samples at a time"),
        (lambda net: net.gradients(MANY.T, MANY.T), r"1,048,576 samples at a time, and for all gradients"),
        (lambda net: net.loss_and_gradient(MANY, MANY), r"1,048,576 samples at a time, and for all gradients"),
    ],
)
def test_batches_that_no_memory_holds(call, message):
    net = NeuralNetwork([Layer(1, WIDE, Tanh(), seed=0), Layer(WIDE, 1, Identity(), seed=1)], MSELoss(), 1e-9)
    with pytest.raises(MemoryError, match=message + ".*bytes, more than there are"):
        call(net)
    assert np.isfinite(net.train([[0.5]], [[0.5]]))  # it works as before


@pytest.mark.parametrize("call", ["predict", "forward_pass", "loss"])
def test_outputs_that_no_memory_holds(call):
    net = NeuralNetwork([Layer(1, WIDE, Identity(), init="zeros")], MSELoss(), 0.1)
    given = {"predict": [MANY], "forward_pass": [MANY.T], "loss": [np.broadcast_to(np.int8(0), (WIDE, WIDE))] * 2}
    with pytest.raises(MemoryError, match=r"\(1048576, 1048576\).* takes 8,796,093,022,208 bytes, more than there are"):
        getattr(net, call)(*given[call])


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.find_lr(X, Y, steps=10**13), "find_lr with steps 10000000000000 takes"),
        (lambda net: net.fit_lbfgs(X, Y, memory=10**9), "fit_lbfgs with memory 1000000000 and 4 parameters takes"),
    ],
)
def test_numbers_of_steps_that_no_memory_holds(call, message):
    net = NeuralNetwork([Layer(3, 1, Identity(), seed=0)], MSELoss(), 0.1)
    with pytest.raises(MemoryError, match=message + " [0-9,]+ bytes, more than there are; expected"):
        call(net)
