"""Threads that share a batch: the same bits as one thread, whatever they train, and however it ends."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    CrossEntropyLoss,
    Dropout,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Tanh,
)
from fastnn.engine import threads


@pytest.fixture(autouse=True)
def small_work_is_worth_it(always_teams):
    before = fastnn.get_num_threads()
    yield
    fastnn.set_num_threads(before)


def teams_of(net):
    """The sizes of the teams that train `net` from here on."""
    sizes, muster = set(), net.engine.plan(1).muster

    def watched(size, turn):
        sizes.add(size)
        return muster(size, turn)

    net.engine.plan().muster = watched
    return sizes


def build(optimizer=None, dtype="float64", stages=(), sizes=(70, 33, 16, 5), **options):
    layers = [Layer(a, b, Tanh(), seed=a, **options) for a, b in zip(sizes, sizes[1:-1])]
    layers = [
        *layers[:1],
        *(stage() for stage in stages),
        *layers[1:],
        Layer(*sizes[-2:], Identity(), seed=0, **options),
    ]
    return NeuralNetwork(layers, CrossEntropyLoss(), 0.01, optimizer, dtype=dtype)


def data(count=203, ins=70, zeros=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(count, ins))
    X[:, rng.random(ins) < zeros] = 0
    X[rng.random(X.shape) < zeros] = 0
    return X, rng.integers(0, 5, count)


def trained_with(count, make, X, y, capacity=64, **options):
    fastnn.set_num_threads(count)
    net = make()
    net.engine.plan(capacity)
    sizes = teams_of(net)
    history = net.fit(X, y, epochs=3, batch_size=32, verbose=0, seed=3, **options)
    assert count == 1 or count in sizes, "the team was not used, so nothing was tested"
    return [array for arrays in net.get_weights() for array in arrays], history["loss"], net.predict(X)


def assert_same_bits(one, other):
    for a, b in zip(one[0], other[0]):
        np.testing.assert_array_equal(a, b)
    assert one[1] == other[1]
    np.testing.assert_array_equal(one[2], other[2])


CASES = {
    "plain": lambda: build(),
    "float32": lambda: build(dtype="float32"),
    "momentum": lambda: build(SGD(momentum=0.9, nesterov=True)),
    "adam": lambda: build(Adam()),
    "penalties": lambda: build(Adam(), l1=1e-3, l2=1e-2),
    "plain with penalties": lambda: build(l1=1e-3, l2=1e-2),
    "max_norm": lambda: build(max_norm=0.5),
    "dropout": lambda: build(stages=[lambda: Dropout(0.3)]),
    "batch norm": lambda: build(Adam(), stages=[BatchNorm, LayerNorm]),
    "one output row": lambda: build(sizes=(70, 3, 5)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_bits_do_not_depend_on_the_threads(case, count):
    X, y = data()
    assert_same_bits(trained_with(1, CASES[case], X, y), trained_with(count, CASES[case], X, y))


@pytest.mark.parametrize("clip", [{"clip_norm": 0.1}, {"clip_value": 1e-3}, {"clip_norm": 0.1, "clip_value": 1e-2}])
def test_nor_with_clipped_gradients(clip):
    X, y = data()

    def make():
        net = build(Adam())
        return NeuralNetwork(net.layers, net.loss_function, 0.01, Adam(), **clip)

    assert_same_bits(trained_with(1, make, X, y), trained_with(3, make, X, y))


def test_nor_with_a_layer_that_stands_twice():
    X, y = data(ins=16)

    def make():
        shared = Layer(16, 16, LeakyReLU(), seed=0)
        return NeuralNetwork([shared, shared, Layer(16, 5, Identity(), seed=1)], CrossEntropyLoss(), 0.05)

    assert_same_bits(trained_with(1, make, X, y), trained_with(2, make, X, y))


@pytest.mark.parametrize("optimizer", [None, Adam()])
def test_nor_with_weights_of_samples_and_zeros_of_inputs(optimizer):
    X, y = data(zeros=0.5)
    w = np.random.default_rng(1).random(len(X))

    def make():
        return build(optimizer)

    one, three = (trained_with(count, make, X, y, sample_weight=w) for count in (1, 3))
    assert_same_bits(one, three)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [None, Adam(), SGD(momentum=0.9)])
def test_zeros_that_are_passed_over_change_no_bit(optimizer, dtype, monkeypatch):
    X, y = data(zeros=0.6)
    results = []
    for looks in (True, False):
        monkeypatch.setattr(fastnn.training.run, "many_zeros", lambda rows, looks=looks: looks)
        results.append(trained_with(2, lambda: build(optimizer, dtype), X, y))
    assert_same_bits(*results)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4), count=st.integers(2, 4),
    batch_size=st.integers(8, 40), rows=st.integers(40, 90), adam=st.booleans(), shuffle=st.booleans(),
)  # fmt: skip
def test_any_architecture(sizes, count, batch_size, rows, adam, shuffle):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(sizes[0], rows)), rng.normal(size=(sizes[-1], rows))
    results = []
    for number in (1, count):
        fastnn.set_num_threads(number)
        layers = [Layer(a, b, ReLU(), seed=a + b) for a, b in zip(sizes, sizes[1:])]
        net = NeuralNetwork(layers, MSELoss(), 0.01, Adam() if adam else None)
        loss = net.train(x, t, epochs=2, batch_size=batch_size, shuffle=shuffle, seed=0)
        results.append((loss, [a for arrays in net.get_weights() for a in arrays], net.forward_pass(x)))
    assert results[0][0] == results[1][0]
    for a, b in zip([*results[0][1], results[0][2]], [*results[1][1], results[1][2]]):
        np.testing.assert_array_equal(a, b)


def test_two_networks_at_once_share_the_threads_without_waiting_for_each_other():
    X, y = data()
    expected = trained_with(1, CASES["adam"], X, y)
    fastnn.set_num_threads(2)
    nets = [CASES["adam"]() for _ in range(4)]
    crew = [
        threading.Thread(target=net.fit, args=(X, y, 3, 32), kwargs={"verbose": 0, "seed": 3}) for net in nets
    ]  # fmt: skip
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(60)
        assert not thread.is_alive()
    for net in nets:
        for a, b in zip([a for arrays in net.get_weights() for a in arrays], expected[0]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("after", [0.001, 0.01, 0.05, 0.2])
def test_ctrl_c_ends_a_fit_of_many_threads(after):
    fastnn.set_num_threads(2)
    X, y = data(2000)
    net = build(Adam())
    net.fit(X, y, verbose=0)  # everything is compiled
    before = int(net.engine.state.steps[0])

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        history = net.fit(X, y, epochs=10**6, verbose=0)
        assert history.stopped
    except KeyboardInterrupt:
        pass  # it came before the first step
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert int(net.engine.state.steps[0]) >= before
    assert np.isfinite(net.fit(X, y, verbose=0)["loss"][0])


def test_without_more_threads_the_work_is_done_by_one(monkeypatch):
    def no_more(self):
        raise RuntimeError("can't start new thread")

    X, y = data()
    expected = trained_with(1, CASES["adam"], X, y)
    monkeypatch.setattr(threads, "_crew", [])
    monkeypatch.setattr(threading.Thread, "start", no_more)
    assert_same_bits(trained_with(2, CASES["adam"], X, y), expected)


def test_a_thread_that_fails_before_it_begins_holds_up_nobody(monkeypatch):
    X, y = data()
    expected = trained_with(1, CASES["adam"], X, y)
    run_team, failures = threads.run_team, []

    def failing(plan, size, kernel, turn):
        def fails(address, who):
            if who > 0:
                failures.append(who)
                raise MemoryError
            return kernel(address, 0)

        return run_team(plan, size, fails, turn)

    monkeypatch.setattr(fastnn.training.run, "run_team", failing)
    assert_same_bits(trained_with(3, CASES["adam"], X, y), expected)
    assert {1, 2} <= set(failures)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    script = """
import os, warnings
import numpy as np, fastnn
from fastnn.engine import pace, threads
warnings.simplefilter("ignore")
threads.MIN_WORK, threads.WORTH_STARTING = 1, 0
pace.Pace.turn, pace.Pace.note = lambda self: pace.Turn(True), lambda *_: None
fastnn.set_num_threads(2)
rng = np.random.default_rng(0)
x = rng.normal(size=(8, 400))
net = fastnn.NeuralNetwork([fastnn.Layer(8, 8, fastnn.ReLU(), seed=0)], fastnn.MSELoss(), 0.01)
net.train(x, x, epochs=3, batch_size=32)
child = os.fork()
loss = net.train(x, x, epochs=3, batch_size=32)
if child == 0:
    os._exit(0 if loss > 0 else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "0"


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_the_number_of_threads_is_checked(wrong):
    with pytest.raises((TypeError, ValueError), match="count is"):
        fastnn.set_num_threads(wrong)


def test_the_environment_sets_the_number():
    def printed(value):
        environment = {**os.environ, "FASTNN_NUM_THREADS": value}
        script = "import fastnn; print(fastnn.get_num_threads())"
        return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)

    assert printed("3").stdout.strip() == "3"
    assert "FASTNN_NUM_THREADS is 'many'; expected a positive integer" in printed("many").stderr
