"""Calls in the middle of calls, forks in the middle of steps, and copies of one moment."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import signal
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from networks import bits

import fastnn
from fastnn import Adam, Dropout, Identity, Layer, MAELoss, MSELoss, NeuralNetwork, Tanh
from fastnn.engine import turns
from tests.reliability import interrupts, snapshots
from tests.reliability.forks import outcome

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


def network(seed=0):
    layers = [Layer(6, 40, Tanh(), seed=seed), Dropout(0.2), Layer(40, 3, Identity(), seed=seed + 1)]
    return NeuralNetwork(layers, MSELoss(), 0.01, Adam())


def rows(n=256):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)), rng.normal(size=(n, 3))


@contextlib.contextmanager
def alarms(handler, seconds):
    """`handler` is called after so many seconds; it may set the timer again."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def calls(net, folder):
    """What a handler may ask of a network, and how often at least it is asked."""
    X, y = rows(40)
    column = np.asfortranarray(X[:1]).T
    return {
        "predict": lambda: net.predict(X),
        "predict one": lambda: net.predict(X[:1]),
        "predict one of another dtype": lambda: net.predict(X[:1].astype(np.float32)),
        "forward_pass": lambda: net.forward_pass(column),
        "evaluate": lambda: net.evaluate(X, y),
        "gradients": lambda: net.gradients(X.T, y.T),
        "loss_and_gradient": lambda: net.loss_and_gradient(X, y),
        "get_weights": net.get_weights,
        "parameters": lambda: net.parameters,
        "deepcopy": lambda: copy.deepcopy(net),
        "pickle": lambda: pickle.dumps(net),
        "save": lambda: net.save(folder / "net.safetensors"),
    }


@needs_timer
@pytest.mark.parametrize("name", list(calls(network(), None)))
def test_a_signal_handler_asks_the_network_that_is_trained(name, tmp_path):
    if name == "save":
        pytest.importorskip("safetensors")
    X, y = rows()
    net, twin = network(), network()
    twin.fit(X, y, epochs=60, batch_size=16, seed=0, verbose=0)
    call, done = calls(net, tmp_path)[name], []

    def handler(number, frame):
        signal.setitimer(signal.ITIMER_REAL, 0.0)  # the call may take longer than the interval
        call()
        done.append(frame.f_code.co_name)
        signal.setitimer(signal.ITIMER_REAL, 0.002)

    call()
    with alarms(handler, 0.002):
        net.fit(X, y, epochs=60, batch_size=16, seed=0, verbose=0)
        while not done:
            time.sleep(0.001)
    assert bits(net) == bits(twin)


@pytest.mark.parametrize("name", [name for name in calls(network(), None) if name != "save"])
def test_a_call_in_the_middle_of_a_call(name, tmp_path):
    """The same at the worst moment: the plan is set up for a step, and its memory is in use."""
    net = network()
    call = calls(net, tmp_path)[name]
    expected = pickle.dumps(call()) if name not in ("deepcopy", "pickle") else None
    kept = net.engine.plan()
    seen = []

    def task(plan):
        assert plan is kept
        record = plan._record.tobytes()
        seen.append(call())
        assert plan._record.tobytes() == record

    net.engine.train_with(task, 1)
    if expected is not None:
        assert pickle.dumps(seen[0]) == expected
    assert not net.engine.plan().turns.busy


@pytest.mark.parametrize(
    "train",
    [
        lambda net: net.train(np.ones((6, 1)), np.ones((3, 1))),
        lambda net: net.train(np.ones((6, 5)), np.ones((3, 5))),
        lambda net: net.fit(*rows(), verbose=0),
        lambda net: net.partial_fit(*rows()),
        lambda net: net.engine.step(net.parameters, 0.1),
    ],
)
def test_training_in_the_middle_of_a_call_is_refused(train):
    net = network()
    train(net)
    before = bits(net)
    with pytest.raises(RuntimeError, match="in the middle of another call of its own thread"):
        net.engine.work_with(lambda plan: train(net))
    assert bits(net) == before
    train(net)


def test_plain_steps_in_the_middle_of_a_call_are_refused():
    net = NeuralNetwork([Layer(2, 1, Identity(), seed=0)], MSELoss(), 0.1)
    x, t = np.ones((2, 1)), np.ones((1, 1))
    net.train(x, t)
    before = bits(net)
    with pytest.raises(RuntimeError, match="set a flag"):
        net.engine.work_with(lambda plan: net.train(x, t))
    assert bits(net) == before


# --- forks --------------------------------------------------------------------------------------


@contextlib.contextmanager
def training(net, X, y, **settings):
    """Another thread trains the network."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            net.train(X, y, **settings)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def even_network():
    """Every step adds the same number to all its parameters, whatever the others did before."""
    net = NeuralNetwork([Layer(400, 1, Identity(), init="zeros")], MAELoss(), 2.0**-20)
    return net, np.full((400, 64), 2.0**-10), np.full((1, 64), 1e9)


def steps_of(weights, biases):
    """How many steps an even network has behind it; -1 if its numbers are of several moments."""
    steps = {*(weights * 2.0**30).ravel().tolist(), *(biases * 2.0**20).ravel().tolist()}
    return int(steps.pop()) if len(steps) == 1 else -1


@needs_fork
@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_child_forked_in_the_middle_of_training(batch_size):
    net, X, y = even_network()
    fastnn.get_num_threads()

    def task():
        whole = steps_of(*net.get_weights()[0]) >= 0
        net.predict(np.ones((5, 400)))
        net.train(X, y, epochs=3, batch_size=batch_size)
        return whole and steps_of(*net.get_weights()[0]) >= 0

    with training(net, X, y, batch_size=batch_size, epochs=20):
        assert [outcome(task) for _ in range(25)] == ["True"] * 25


@needs_fork
def test_a_turn_that_does_not_end_holds_up_no_fork(monkeypatch):
    monkeypatch.setattr(turns, "FORK_SECONDS", 0.05)
    net, go_on, begun = network(), threading.Event(), threading.Event()

    def work():
        net.engine.work_with(lambda plan: (begun.set(), go_on.wait(30)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(30)
        assert outcome(lambda: net.predict(rows()[0]).shape == (256, 3)) == "True"
    finally:
        go_on.set()
        thread.join()
    assert net.predict(rows()[0]).shape == (256, 3)


# --- copies of one moment -----------------------------------------------------------------------


def twice_pickled(net):
    return pickle.loads(pickle.dumps(net))


def dumped(net, folder):
    joblib.dump(net, folder / "net.joblib")
    return joblib.load(folder / "net.joblib")


def saved(net, folder):
    pytest.importorskip("safetensors")
    net.save(folder / "net.safetensors")
    return fastnn.load(folder / "net.safetensors")


@pytest.mark.parametrize(
    "twin_of",
    [
        lambda net, folder: copy.deepcopy(net),
        lambda net, folder: twice_pickled(net),
        lambda net, folder: twice_pickled({"net": net, "again": net})["again"],
        lambda net, folder: copy.deepcopy([net, net.layers[0]])[0],
        dumped,
        saved,
    ],
    ids=["deepcopy", "pickle", "in a dict", "in a list", "joblib", "save"],
)
@pytest.mark.parametrize("optimizer", [None, Adam()], ids=["plain", "Adam"])
def test_snapshots_of_a_network_in_training_are_of_one_moment(twin_of, optimizer, tmp_path):
    net, X, y = even_network()
    if optimizer is not None:  # which gives parameters of the same gradients the same steps
        net.optimizer, X = optimizer, np.ones_like(X)
    alone = copy.deepcopy(net)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with training(net, X, y, batch_size=16, epochs=5):
            for _ in range(40):
                twin = twin_of(net, tmp_path)
                W, b = twin.get_weights()[0]
                if optimizer is None:
                    assert steps_of(W, b) == twin.engine.state.steps[0]
                else:
                    gap = int(twin.engine.state.steps[0] - alone.engine.state.steps[0])
                    if gap:
                        alone.train(X[:, :16], y[:, :16], batch_size=16, epochs=gap)
                    assert bits(twin) == bits(alone)
    finally:
        sys.setswitchinterval(before)


def test_get_weights_are_of_one_moment():
    net, X, y = even_network()
    seen = set()
    with training(net, X, y, batch_size=1, epochs=5):
        deadline = time.monotonic() + 30
        while len(seen) < 20 and time.monotonic() < deadline:
            seen.add(steps_of(*net.get_weights()[0]))
    assert -1 not in seen
    assert len(seen) > 1


def test_copies_keep_what_is_shared():
    """The arrays of one moment come without a second copy of the layers."""
    net = network()
    net.fit(*rows(), verbose=0)
    for twin, first in (copy.deepcopy((net, net.layers[0])), twice_pickled((net, net.layers[0]))):
        assert twin.layers[0] is first
        assert bits(twin) == bits(net)
    first, twin = twice_pickled((net.layers[0], net))
    assert twin.layers[0] is first
    assert bits(twin) == bits(net)


def test_a_failed_pickle_leaves_nothing_behind():
    net = network()
    net.engine.loss.broken = lambda: None  # cannot be pickled, and comes after the layers
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps([net])
    del net.engine.loss.broken
    net.fit(*rows(), verbose=0)
    assert bits(twice_pickled(net)) == bits(net)
    layer = twice_pickled(net.layers[0])
    assert layer._W.tobytes() == net.layers[0]._W.tobytes()


def test_buffers_of_a_pickle_stay_what_they_were():
    net, buffers = network(), []
    data = pickle.dumps(net, protocol=5, buffer_callback=buffers.append)
    before = bits(net)
    net.fit(*rows(), verbose=0)
    kept = [bytes(buffer.raw()) for buffer in buffers]
    twin = pickle.loads(data, buffers=kept)
    assert bits(twin) == before
    twin.fit(*rows(), verbose=0)
    assert [bytes(buffer.raw()) for buffer in buffers] == kept


def test_what_is_gone_is_forgotten():
    """A fork asks those that there are, and no list of the dead grows."""
    kept = network()
    for _ in range(3):
        for _ in range(200):
            copy.copy(kept.engine)
        assert len(turns._everyone) < 2 * len(turns._living()) + 200
    assert kept.engine.plan().turns in turns._living()


# --- short forms of what ``python -m tests.reliability`` tries at length ----------------------------


@needs_fork
def test_snapshots():
    assert snapshots.run(30, 1) == {"tried": 30, "crashed": 0, "hung": 0, "error": 0, "whole": 30}


@needs_timer
def test_interrupts():
    assert interrupts.run(24, 1) == {"tried": 24, "crashed": 0, "hung": 0, "error": 0, "whole": 24}


def test_memory(monkeypatch):
    memory = pytest.importorskip("tests.reliability.memory")  # which asks POSIX
    monkeypatch.setattr(memory, "STEPS", 100)
    assert memory.run(100, 0)["kB more"] < 3000  # some 900; 6,000 if every network stayed
