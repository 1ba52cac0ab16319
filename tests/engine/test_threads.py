"""Many threads, and Ctrl-C."""

from __future__ import annotations

import copy
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import bits, ctrl_c_in

from fastnn import (
    ActivationFunction,
    CrossEntropyLoss,
    Identity,
    Layer,
    LeakyReLU,
    MAELoss,
    MSELoss,
    NeuralNetwork,
    Tanh,
    get_num_threads,
)
from fastnn.engine.threads import at_most_threads

THREADS = 4
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def network(dtype="float64", loss=None, rate=0.05, seed=0):
    layers = [
        Layer(5, 40, LeakyReLU(), bias_init="he_normal", seed=seed),
        Layer(40, 30, Tanh(), bias_init="he_normal", seed=seed + 1),
        Layer(30, 4, Identity(), seed=seed + 2),
    ]
    return NeuralNetwork(layers, loss or MSELoss(), rate, dtype=dtype)


def data(n, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, n)).astype(dtype), rng.normal(size=(4, n)).astype(dtype)


@pytest.fixture(autouse=True)
def often():
    """Let Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*tasks):
    """What the tasks return, each run in a thread of its own, all started at once."""
    barrier = threading.Barrier(len(tasks))

    def run(task):
        barrier.wait(30)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(run, task) for task in tasks]]


def result(value):
    """The bits of what a call returned."""
    if isinstance(value, float):
        return value
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return [result(part) for part in value]


@each_dtype
def test_forward_passes_at_once(dtype):
    net = network(dtype)
    inputs = [data(n, dtype, n)[0] for n in (1, 2, 7, 130, 300)]
    expected = [result(copy.deepcopy(net).forward_pass(x)) for x in inputs]

    def work(start):
        order = [(start + i) % len(inputs) for i in range(100)]
        return all(result(net.forward_pass(inputs[i])) == expected[i] for i in order)

    assert together(*(lambda start=start: work(start) for start in range(THREADS))) == [True] * THREADS


def calls(net, classes):
    """One of every kind of call, in every form. At learning rate 0 no call changes what another returns."""
    x, t = data(300, net.dtype.name)
    if classes:
        t = np.arange(300) % 4
    x1, t1, values = x[:, :1].copy(), t[..., :1].copy(), net.forward_pass(x)
    return {
        "train": lambda: net.train(x, t, epochs=3),
        "train, batches": lambda: net.train(x, t, epochs=5, batch_size=64, shuffle=True, seed=1),
        "train, large batch": lambda: net.train(x, t, epochs=5, batch_size=299),
        "train one": lambda: net.train(x1, t1),
        "train one, target in a list": lambda: net.train(x1, t1.tolist()),
        "train one, converted": lambda: net.train(x1.tolist(), int(t1[0]) if classes else t1),
        "gradients": lambda: net.gradients(x, t),
        "loss": lambda: net.loss(values, t),
        "loss of one": lambda: net.loss(values[:, 5:6], t[..., 5:6]),
        "forward_pass": lambda: net.forward_pass(x),
        "forward_pass of one": lambda: net.forward_pass(x1),
    }


@each_dtype
@pytest.mark.parametrize("loss", [MSELoss, CrossEntropyLoss])
def test_all_calls_at_once(loss, dtype):
    net = network(dtype, loss(), rate=0.0)
    before = bits(net)
    expected = {name: result(call()) for name, call in calls(copy.deepcopy(net), loss is CrossEntropyLoss).items()}
    ours = calls(net, loss is CrossEntropyLoss)
    net.engine._plan = None  # the first calls come all at once

    def work(seed):
        order = np.random.default_rng(seed).permutation(list(ours) * 15)
        return [name for name in order if result(ours[name]()) != expected[name]]

    wrong = together(*(lambda seed=seed: work(seed) for seed in range(THREADS)))
    assert sorted({str(name) for names in wrong for name in names}) == []
    assert bits(net) == before


def test_the_loss_of_a_run_is_its_own():
    """Training lets other calls in now and then: they must not disturb the loss it will return."""
    net, (x, t) = network(rate=0.0), data(2000)
    expected, done = net.train(x, t), threading.Event()

    def train():
        try:
            return {net.train(x, t) for _ in range(40)}
        finally:
            done.set()

    def disturb():
        while not done.is_set():
            net.loss(t[:, :3], t[:, :3] + 1)
            net.train(x[:, :1], t[:, :1])

    assert together(train, disturb)[0] == {expected}


@pytest.mark.parametrize("batch_sizes", [(1, 1), (1, 64), (16, 128), (64, 512)], ids=str)
def test_calls_take_turns(batch_sizes):
    """No update is lost: each adds an exact number to the parameters, whatever the others did before."""
    net = NeuralNetwork([Layer(400, 1, Identity(), init="zeros")], MAELoss(), 2.0**-20)
    x, t, epochs = np.full((400, 512), 2.0**-10), np.full((1, 512), 1e9), 800

    def train(batch_size):
        net.train(x, t, epochs=epochs, batch_size=batch_size)

    def train_too(batch_size):
        while net._layers[0]._b[0, 0] == 0:
            time.sleep(0)
        train(batch_size)

    together(lambda: train(batch_sizes[0]), lambda: train_too(batch_sizes[1]))
    steps = sum(epochs * 512 // size for size in batch_sizes)
    assert net._layers[0]._b[0, 0] * 2.0**20 == steps
    assert np.unique(net._layers[0]._W * 2.0**30).tolist() == [steps]


@each_dtype
@pytest.mark.parametrize("single", [True, False])
def test_networks_of_their_own(single, dtype):
    x, t = data(400, dtype)[0], np.random.default_rng(1).integers(0, 4, 400)

    def train(net):
        if not single:
            return net.train(x, t)
        return [net.train(x[:, i : i + 1].copy(), t[i]) for i in range(400)]

    nets = [network(dtype, CrossEntropyLoss(), seed=10 * i) for i in range(THREADS)]
    serial = [copy.deepcopy(net) for net in nets]
    losses = [train(net) for net in serial]
    assert together(*(lambda net=net: train(net) for net in nets)) == losses
    assert [bits(net) for net in nets] == [bits(net) for net in serial]


def test_the_first_calls_compile_at_once():
    class Bump(ActivationFunction):
        def f(self, x):
            return 1 / (1 + x * x)

        def df(self, x):
            return -2 * x / (1 + x * x) ** 2

    layers = [Layer(5, 4, Bump(), seed=0)]
    nets = [NeuralNetwork(layers, MSELoss(), 0.1)] * 2 + [NeuralNetwork(layers, MSELoss(), 0.1) for _ in range(2)]
    x, _ = data(10)
    results = together(*(lambda net=net: net.forward_pass(x) for net in nets))
    for out in results:
        np.testing.assert_allclose(out, layers[0].forward_pass(x), 1e-12)


def test_settings_change_while_others_work():
    """A call sees the parameters of one moment, never freed memory."""
    act, done = LeakyReLU(0.25), threading.Event()
    layers = [Layer(5, 40, act, seed=0), Layer(40, 4, Identity(), seed=1)]
    net, (x, _) = NeuralNetwork(layers, MSELoss(), 0.1), data(50)
    allowed = set()
    for value in (0.25, 0.75):
        act.leaky_param = value
        allowed.add(net.forward_pass(x).tobytes())

    def change():
        for i in range(300):
            act.leaky_param = (0.25, 0.75)[i % 2]
        done.set()

    def work():
        seen = set()
        while not done.is_set():
            seen.add(net.forward_pass(x).tobytes())
        return seen

    seen = together(change, work, work)[1:]
    assert set().union(*seen) <= allowed
    assert net.forward_pass(x).tobytes() in allowed


def test_memory_in_use_is_not_freed():
    """Another network turns a shared layer into float32 while this one is being trained: an error, no crash."""
    net, (x, t) = network(), data(200)
    kept = [layer._memory.base for layer in net._layers]  # so that a failure here is not a crash
    memory, before = weakref.ref(net._layers[0]._memory), bits(net)
    errors = []

    def train():
        try:
            net.train(x, t, epochs=3000)
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=train)
    thread.start()
    while bits(net) == before and thread.is_alive():
        time.sleep(0)
    working = thread.is_alive()
    NeuralNetwork(net._layers, MSELoss(), 0.1, dtype="float32")
    is_there = memory() is not None or not thread.is_alive()
    thread.join()
    assert working, "no statement: the training was over too soon"
    assert is_there
    assert kept
    assert "another network with dtype='float32' shares it" in errors[0]


# --- the GIL ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 50])
def test_python_goes_on_during_training(batch_size):
    """A counter in Python gets on while kernels run nearly as it does while this thread sleeps."""
    net, (x, t) = network(rate=1e-6), data(500)
    count, stop = [0], threading.Event()

    def counter():
        while not stop.is_set():
            count[0] += 1

    def counted(task):
        before = count[0]
        task()
        return count[0] - before

    def train():
        net.train(x, t, epochs=30, batch_size=batch_size)

    train()
    thread = threading.Thread(target=counter)
    thread.start()
    try:
        ratios = []
        for _ in range(10):  # others use this machine too: one good round of ten is enough
            start = time.perf_counter()
            during_training = counted(train)
            took = time.perf_counter() - start
            ratios.append(during_training / max(1, counted(lambda took=took: time.sleep(took))))
            if ratios[-1] > 0.25:
                break
    finally:
        stop.set()
        thread.join()
    assert max(ratios) > 0.25


# --- Ctrl-C ----------------------------------------------------------------------------------

LONG = {
    "online": {},
    "shuffled": {"shuffle": True},
    "batches": {"batch_size": 32, "shuffle": True},
    "one large batch": {"batch_size": 2000},
}


@pytest.mark.parametrize("loss", [MSELoss, CrossEntropyLoss])
@pytest.mark.parametrize("kind", LONG)
def test_interrupt(kind, loss):
    net, (x, t) = network(loss=loss(), rate=1e-4), data(2000)
    if loss is CrossEntropyLoss:
        t = np.arange(2000) % 4
    net.train(x, t, **LONG[kind])
    before = bits(net)
    with ctrl_c_in(0.25) as sent:
        with pytest.raises(KeyboardInterrupt):
            net.train(x, t, epochs=10**7, **LONG[kind])
        heard = time.monotonic()
    assert heard - sent[0] < 5
    assert bits(net) != before  # the steps taken so far stay
    assert all(np.isfinite(array).all() for layer in net._layers for array in (layer._W, layer._b))
    assert not net.engine.plan().turns.busy
    twin = copy.deepcopy(net)
    assert net.train(x, t, **LONG[kind], seed=1) == twin.train(x, t, **LONG[kind], seed=1)
    assert bits(net) == bits(twin)
    assert together(lambda: net.forward_pass(x).shape) == [(4, 2000)]


def test_a_layer_changes_its_dtype_between_any_two_steps_of_another_network():
    """Wherever the change falls between a network's checks, its kernels never see the other memory."""
    x, t = data(200)
    for repetition in range(60):
        net = network()
        layers = net._layers
        errors = []

        def train(net=net, errors=errors, repetition=repetition):
            try:
                net.train(x, t, epochs=300, batch_size=1 + 7 * (repetition % 2))
            except ValueError as error:
                errors.append(error)

        thread = threading.Thread(target=train)
        thread.start()
        time.sleep(0.0001 * repetition)
        for layer in layers:
            layer.act_function = type(layer.act_function)()  # each makes the network look at its layers anew
        NeuralNetwork(layers, MSELoss(), 0.1, dtype="float32")
        thread.join()
        assert errors


def test_a_limit_for_some_calls_of_one_thread():
    before = get_num_threads()
    elsewhere = []
    with at_most_threads(before + 1):
        assert get_num_threads() == before + 1
        with at_most_threads(1), at_most_threads(None):
            assert get_num_threads() == 1
        other = threading.Thread(target=lambda: elsewhere.append(get_num_threads()))
        other.start()
        other.join()
    assert [get_num_threads(), *elsewhere] == [before, before]
    with pytest.raises(ValueError, match="count is 0"), at_most_threads(0):
        pass
