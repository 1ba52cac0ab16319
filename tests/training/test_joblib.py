"""Banks and searches in the workers of joblib: the bits of one process, and what cannot go there."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from networks import bits

from fastnn import (
    Adam,
    Callback,
    Dropout,
    EarlyStopping,
    Identity,
    LambdaCallback,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    ReduceLROnPlateau,
    Standardize,
    StepDecay,
    Tanh,
    get_num_threads,
)
from fastnn.engine.hired import hired

joblib = pytest.importorskip("joblib")
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
BACKENDS = ["threading", "loky"]


class Seen(Callback):
    """What happened where."""

    def on_train_begin(self):
        self.epochs, self.process, self.threads = [], os.getpid(), get_num_threads()

    def on_epoch_end(self, epoch, logs):
        self.epochs.append(epoch)


class Fails(Callback):
    def on_epoch_end(self, epoch, logs):
        raise OverflowError("in a worker")


class Warns(Callback):
    def on_train_begin(self):
        warnings.warn("from a worker", FutureWarning, stacklevel=1)


class Interrupts(Callback):
    def on_epoch_end(self, epoch, logs):
        raise KeyboardInterrupt


def make(seed, hidden=8, lr=0.01):
    rng = np.random.default_rng(seed)
    layers = [Standardize(), Layer(3, hidden, Tanh(), seed=rng), Dropout(0.1), Layer(hidden, 2, Identity(), seed=rng)]
    return NeuralNetwork(layers, MSELoss(), lr, Adam())


def state(net):
    kept = net.engine.state
    return (
        bits(net),
        [n.tobytes() for n in kept.numbers],
        int(kept.steps[0]),
        int(kept.epochs[0]),
        float(net.engine.rate.lr),
    )


def trained(**settings):
    """A bank after two fits, the second of which goes on where the first was, and its callbacks."""
    bank = NetworkBank([make(0), make(1, 4, StepDecay(0.02, 2)), make(2, 16), make(3), make(4)])
    called = [[EarlyStopping(patience=2), ReduceLROnPlateau(patience=1), Seen()] for _ in bank]
    layers = [net.layers for net in bank]
    bank.fit(
        X,
        Y,
        epochs=4,
        seed=0,
        validation_split=0.2,
        metrics=["r2"],
        callbacks=lambda k: called[k],
        verbose=0,
        **settings,
    )
    first = bank.histories
    bank.fit(X, Y, epochs=2, seed=0, bootstrap=True, verbose=0, **settings)
    assert all(layer is other for net, some in zip(bank, layers) for layer, other in zip(net.layers, some))
    return bank, called, first


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bank_has_the_bits_of_one_process(backend):
    bank, called, first = trained()
    with joblib.parallel_config(backend, n_jobs=2):
        other, its, its_first = trained()
    assert [state(net) for net in other] == [state(net) for net in bank]
    assert list(map(dict, its_first)) == list(map(dict, first))
    assert list(map(dict, other.histories)) == list(map(dict, bank.histories))
    assert other.results == bank.results
    for k, (mine, theirs) in enumerate(zip(called, its)):
        assert (mine[0].best, mine[0].best_epoch) == (theirs[0].best, theirs[0].best_epoch)
        assert mine[2].epochs == theirs[2].epochs
        assert theirs[2].net is other[k]
        assert mine[2].process == os.getpid()
        assert (theirs[2].process == os.getpid()) == (backend == "threading")
    if backend == "loky":  # blocks: two processes for five networks
        assert len({theirs[2].process for theirs in its}) <= 2


def test_nothing_changes_without_a_backend():
    assert hired() is None
    with joblib.parallel_config(n_jobs=2):  # says no backend
        assert hired() is None
    with joblib.parallel_config("threading", n_jobs=1):
        assert hired() is None
    with joblib.parallel_config(require="sharedmem"):
        assert hired() is None
    with joblib.parallel_config("threading", n_jobs=3):
        assert hired().jobs == 3
        assert hired(2).jobs == 2


def test_a_fit_does_not_import_joblib():
    code = (
        "import sys, fastnn, numpy as np; net = fastnn.mlp([1, 2, 1], seed=0);"
        "fastnn.NetworkBank([net]).fit(np.ones((4, 1)), np.ones(4), verbose=0); print('joblib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_workers_of_workers_are_threads():
    """A fit within a worker stays there, with its part of the threads."""

    def inner():
        return hired()

    with joblib.parallel_config("threading", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(inner)() for _ in range(3)) == [None] * 3
    with joblib.parallel_config("threading", n_jobs=2 * get_num_threads()):
        _, called, _ = trained()
    assert all(some[2].threads == get_num_threads() for some in called)  # those of the call, not of the worker's share


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_and_warnings_come_home(backend):
    bank = NetworkBank([make(0), make(1), make(2)])
    with joblib.parallel_config(backend, n_jobs=2):
        with pytest.raises(OverflowError, match="in a worker"):
            bank.fit(X, Y, callbacks=Fails(), verbose=0)
        with pytest.warns(FutureWarning, match="from a worker"):
            bank.fit(X, Y, callbacks=Warns(), verbose=0)
        with pytest.raises(ValueError, match="X has 2 columns"):
            bank.fit(X[:, :2], Y, verbose=0)


def test_what_cannot_go_to_another_process_is_named():
    bank, before = NetworkBank([make(0), make(1)]), [state(net) for net in [make(0), make(1)]]
    stuck = Seen()
    stuck.handle = sys._getframe()
    with joblib.parallel_config("loky", n_jobs=2):
        for callback in (LambdaCallback(), stuck):
            with pytest.raises(TypeError, match=f"callbacks holds {type(callback).__name__}, which cannot go to"):
                bank.fit(X, Y, callbacks=lambda k, one=callback: [one] if k else [], verbose=0)
    assert [state(net) for net in bank] == before
    with joblib.parallel_config("threading", n_jobs=2):
        seen = []
        bank.fit(X, Y, callbacks=LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)), verbose=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_diverged_network_is_no_error(backend):
    bank = NetworkBank([make(0), make(1, lr=1e300)])
    with joblib.parallel_config(backend, n_jobs=2), pytest.warns(RuntimeWarning, match="1 of 2 networks diverged"):
        bank.fit(X, Y, verbose=0)
    assert bank.ranking() == [0]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("kind", ["bank", "search"])
def test_ctrl_c_ends_threads_and_says_what_they_have_done(tmp_path, kind):
    code = f"""
import os, signal, sys, threading, time
sys.path[:0] = {sys.path!r}
import joblib, numpy as np, fastnn
from fastnn import NetworkBank, Callback
X = np.random.default_rng(0).normal(size=(300, 3))
epochs = []
class Counts(Callback):
    def on_epoch_end(self, epoch, logs):
        epochs.append(epoch)
        if len(epochs) == 20:
            os.kill(os.getpid(), signal.SIGINT)
def fit():
    if {kind!r} == "bank":
        bank = NetworkBank([fastnn.mlp([3, 8, 1], seed=k) for k in range(3)])
        for net, history in zip(bank, bank.fit(X, X[:, 0], epochs=10**7, verbose=0, callbacks=lambda k: Counts())):
            assert history.stopped == f"interrupted after {{net.engine.state.steps[0]}} steps", history.stopped
        raise KeyboardInterrupt
    from fastnn.sklearn import BankSearchCV, MLPRegressor
    model = MLPRegressor(max_iter=10**7, n_iter_no_change=10**7, callbacks=[Counts()])
    BankSearchCV(model, {{"alpha": [0.1, 0.2]}}, cv=2).fit(X, X[:, 0])
with joblib.parallel_config("threading", n_jobs=2):
    try:
        fit()
    except KeyboardInterrupt:
        then = len(epochs)
time.sleep(0.5)
print(then >= 20, len(epochs) == then, flush=True)
os._exit(0)
"""
    script = tmp_path / "interrupted.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_comes_back_and_leaves_what_works(tmp_path):
    code = f"""
import os, signal, sys, threading
sys.path[:0] = {sys.path!r}
import joblib, numpy as np, fastnn
from fastnn import NetworkBank
bank = NetworkBank([fastnn.mlp([3, 8, 1], seed=k) for k in range(3)])
X = np.random.default_rng(0).normal(size=(300, 3))
with joblib.parallel_config("loky", n_jobs=2):
    bank.fit(X, X[:, 0], verbose=0)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    histories = bank.fit(X, X[:, 0], epochs=10**7, verbose=0)
    print({{history.stopped for history in histories}})
    print(len(bank.fit(X, X[:, 0], epochs=2, verbose=0)[0].epoch), flush=True)
"""
    script = tmp_path / "interrupted.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n")[:2] == ["{'interrupted after 0 steps'}", "2"], done.stderr
