"""Data larger than memory: what is read chunk by chunk trains as what is in memory."""

from __future__ import annotations

import copy
import itertools
import pathlib
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from typing import ClassVar

import numpy as np
import pytest
from networks import Killed, OnDisk, bits, classifier, killed_in

import fastnn
from fastnn import Adam, Checkpoint, Dropout, LambdaCallback, MSELoss, NeuralNetwork, Standardize, StepDecay
from fastnn.data import sources
from fastnn.engine.workers import Worker
from fastnn.training import stream

BATCH = 16
ROWS = 2 * BATCH  # of a chunk, in these tests


class Watched(Worker):
    """A thread of which the tests know."""

    all: ClassVar = []

    def __init__(self, work):
        super().__init__(work)
        self.all.append(self)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of `ROWS` rows for the network of `classifier`; afterwards, no reading thread is left."""
    Watched.all.clear()
    monkeypatch.setattr(stream, "Worker", Watched)
    monkeypatch.setattr(sources, "CHUNK_BYTES", (4 + 3) * 8 * ROWS + 5)
    yield
    assert readers() == []


def readers():
    """The reading threads that are at work."""
    return [worker for worker in Watched.all if worker.is_alive()]


def mapped(path, array):
    """`array` in a file."""
    memmap = np.memmap(path, array.dtype, "w+", shape=array.shape)
    memmap[...] = array
    memmap.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def in_chunks(*arrays, rows=ROWS):
    """A function that makes a generator of chunks."""

    def chunks():
        for start in range(0, len(arrays[0]), rows):
            yield tuple(array[start : start + rows] for array in arrays)

    return chunks


def twins(count, **settings):
    """That many networks with the same weights, and samples."""
    net, X, y = classifier(**settings)
    return *(copy.deepcopy(net) for _ in range(count)), X, y


# --- the same steps as in memory ---------------------------------------------------------------

KINDS = {
    "memmap": mapped,
    "HDF5": lambda path, array: OnDisk(array),
    "float16": lambda path, array: mapped(path, array.astype(np.float16)),
    "int8": lambda path, array: mapped(path, (10 * array).astype(np.int8)),
    "big-endian": lambda path, array: mapped(path, array.astype(">f4")),
    "columns first": lambda path, array: mapped(path, array.T.copy()).T,
    "unaligned": lambda path, array: np.memmap(
        path.write_bytes(b"?" + array.tobytes()) and path, "f8", "r", 1, array.shape
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_slices_are_the_same_steps(tmp_path, kind, dtype):
    mine, other, X, y = twins(2, optimizer=Adam(), dtype=dtype)
    X, y = X[: 2 * ROWS + 1], y[: 2 * ROWS + 1]  # at the end there is a chunk of one sample
    if dtype == "float32":
        X, y = np.tile(X, (2, 1))[:-1], np.tile(y, 2)[:-1]
    lazy = KINDS[kind](tmp_path / "X", X)
    whole = np.array(lazy[0 : len(X)])
    history = mine.fit(lazy, y, epochs=3, batch_size=BATCH, shuffle=False, metrics=["accuracy"])
    expected = other.fit(whole, y, epochs=3, batch_size=BATCH, shuffle=False, metrics=["accuracy"])
    assert bits(mine) == bits(other)
    assert list(history) == list(expected)
    assert history["loss"] == pytest.approx(expected["loss"])
    assert history["accuracy"] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("shuffle", [False, True])
def test_one_chunk_is_the_fit_in_memory(shuffle):
    mine, other, X, y = twins(2, optimizer=Adam())
    settings = {"epochs": 3, "batch_size": BATCH, "shuffle": shuffle, "seed": 4, "metrics": ["accuracy", "top_2"]}
    history = mine.fit([(X, y)], **settings)
    expected = other.fit(X, y, **settings)
    assert bits(mine) == bits(other)
    assert dict(history) == dict(expected)


@pytest.mark.parametrize("batch_size", [1, BATCH, 1000])
def test_chunks_are_partial_fits(batch_size):
    mine, other, X, y = twins(2, optimizer=Adam())
    weight = np.linspace(0, 2, 90)
    history = mine.fit(in_chunks(X, y, weight, rows=25), epochs=2, batch_size=batch_size, shuffle=False)
    for epoch in range(2):
        losses = [
            len(some) * other.partial_fit(some, t, batch_size, w)
            for some, t, w in in_chunks(X, y, weight, rows=25)()
        ]  # fmt: skip
        assert history["loss"][epoch] == pytest.approx(sum(losses) / 90)
    assert bits(mine) == bits(other)


@pytest.mark.parametrize(
    "settings",
    [
        {"sample_weight": np.linspace(0, 2, 90)},
        {"class_weight": {0: 2.0, 2: 0.5}},
        {"class_weight": np.array([2.0, 1.0, 0.5])},
        {"class_weight": "balanced"},
        {"class_weight": "balanced", "sample_weight": np.linspace(0, 2, 90)},
        {
            "validation_split": 0.2,
            "metrics": ["accuracy", "f1"],
            "train_metrics": True,
            "class_weight": "balanced",
            "seed": 5,
        },
        {"validation_split": 0.2, "sample_weight": np.linspace(0, 2, 90), "seed": 5},
        {"validation_split": 0.2, "validation_shuffle": False, "sample_weight": np.linspace(0, 2, 90)},
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, OnDisk])
def test_settings_mean_what_they_mean_in_memory(settings, kind):
    mine, other, X, y = twins(2)
    history = mine.fit(OnDisk(X), kind(y), epochs=2, batch_size=BATCH, shuffle=False, **settings)
    expected = other.fit(X, y, epochs=2, batch_size=BATCH, shuffle=False, **settings)
    assert bits(mine) == bits(other)
    assert history["loss"] == pytest.approx(expected["loss"])
    assert all(history[name] == expected[name] for name in expected if name.startswith("val_"))
    assert set(expected) - set(history) == ({"f1"} if "metrics" in settings else set())


def test_values_as_targets():
    mine, other, X, _ = twins(2, outs=1, loss=MSELoss(), lr=0.01)
    mine.fit(OnDisk(X), OnDisk(X[:, 0]), epochs=2, batch_size=BATCH, shuffle=False)
    other.fit(X, X[:, :1], epochs=2, batch_size=BATCH, shuffle=False)
    assert bits(mine) == bits(other)


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("kind", ["slices", "chunks"])
def test_schedules_count_on(per, kind):
    mine, other, X, y = twins(2, lr=StepDecay(0.1, 2, 0.5, per=per))
    X, y = X[: 2 * ROWS], y[: 2 * ROWS]  # the batches of the chunks are those of the whole
    source = (in_chunks(X, y), None) if kind == "chunks" else (OnDisk(X), y)
    mine.fit(*source, epochs=5, batch_size=BATCH, shuffle=False)
    other.fit(X, y, epochs=5, batch_size=BATCH, shuffle=False)
    assert bits(mine) == bits(other)


def test_what_fits_into_one_chunk_is_read_once(tmp_path):
    mine, other, X, y = twins(2)
    X, y = X[:ROWS], y[:ROWS]
    lazy = OnDisk(X)
    settings = {"epochs": 3, "batch_size": BATCH, "seed": 1, "metrics": ["f1"], "validation_split": 0.25}
    assert dict(mine.fit(lazy, OnDisk(y), **settings)) == dict(other.fit(X, y, **settings))
    assert bits(mine) == bits(other)
    assert len(lazy.asked) == 1


def standardizing(net):
    return NeuralNetwork([Standardize(), *net.layers], net.loss_function, net.lr)


def test_inputs_are_standardized_over_all_slices():
    net, X, y = classifier()
    mine, other = standardizing(net), standardizing(copy.deepcopy(net))
    X = 1000 + X * np.linspace(1, 100, 90)[:, None]
    lazy = OnDisk(X)
    mine.fit(lazy, y, batch_size=BATCH, epochs=2, shuffle=False)
    other.fit(X, y, batch_size=BATCH, epochs=2, shuffle=False)
    assert mine.allclose(other, rtol=1e-9)
    assert len(lazy.asked) == 3 * 3


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c(), lambda c: list(c())])
def test_inputs_are_standardized_as_the_first_chunk_is(make):
    net, X, y = classifier()
    mine, other, X, y = standardizing(net), standardizing(copy.deepcopy(net)), X[: 2 * ROWS], y[: 2 * ROWS]
    mine.fit(make(in_chunks(X, y)), batch_size=BATCH, shuffle=False)
    other.layers[0].adapt(X[:ROWS])
    other.fit(X, y, batch_size=BATCH, shuffle=False)
    assert bits(mine) == bits(other)


def test_dropout_depends_on_the_seed_alone():
    results = []
    for seed in (0, 0, 1):
        net, X, y = classifier()
        net = NeuralNetwork([Dropout(0.5), *net.layers], net.loss_function, net.lr)
        net.fit(OnDisk(X), y, batch_size=BATCH, epochs=2, seed=seed, shuffle=False)
        results.append(bits(net))
    assert results[0] == results[1] != results[2]


# --- order, loss and metrics -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slices", "chunks"])
def test_one_seed_gives_the_same_bits_and_another_does_not(kind):
    results = []
    for seed, shuffle in ((1, True), (1, True), (2, True), (1, False)):
        net, X, y = classifier()
        source = (in_chunks(X, y), None) if kind == "chunks" else (OnDisk(X), y)
        net.fit(*source, epochs=2, batch_size=BATCH, seed=seed, shuffle=shuffle)
        results.append(bits(net))
    assert results[0] == results[1]
    assert results[0] not in results[2:]
    assert results[2] != results[3]


def test_every_epoch_takes_every_chunk_once_in_an_order_of_its_own(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", 1)
    net, X, y = classifier()
    lazy = OnDisk(X)
    net.fit(lazy, y, epochs=4, batch_size=10, seed=0)
    spans = [(start, start + 10) for start in range(0, 90, 10)]
    epochs = [lazy.asked[i : i + 9] for i in range(0, 36, 9)]
    assert all(sorted(epoch) == spans for epoch in epochs)
    assert len({tuple(epoch) for epoch in (spans, *epochs)}) == 5
    lazy.asked.clear()
    net.fit(lazy, y, epochs=2, batch_size=10, seed=0, shuffle=False)
    assert lazy.asked == 2 * spans


def test_samples_of_a_chunk_are_shuffled_too():
    mine, other, X, y = twins(2)
    mine.fit(in_chunks(X, y), batch_size=BATCH, seed=3)
    for number, (some, t) in enumerate(in_chunks(X, y)()):
        other.fit(some, t, batch_size=BATCH, seed=sources.seed_of(3, number))
    assert bits(mine) == bits(other)


@pytest.mark.filterwarnings("ignore:the learning rate is 0")
def test_loss_and_metrics_are_means_over_samples():
    net, X, y = classifier(lr=0.0)
    expected = net.evaluate(X, y, ["accuracy", "top_2", "log_loss"])
    history = net.fit(in_chunks(X, y, rows=37), metrics=["accuracy", "top_2", "log_loss"])
    assert {name: values[0] for name, values in history.items()} == pytest.approx(expected)


def test_other_metrics_are_measured_on_validation_data():
    net, X, y = classifier()
    history = net.fit(in_chunks(X, y), validation_data=(X, y), metrics=["accuracy", "f1", lambda y, out: 1.0])
    assert list(history) == ["loss", "val_loss", "val_accuracy", "val_f1", "val_<lambda>"]
    history = net.fit(in_chunks(X, y), validation_data=(X, y), metrics=["accuracy", "f1"], train_metrics=True)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "val_f1"]


# --- reading ahead -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slices", "chunks"])
def test_no_more_than_two_chunks_exist(monkeypatch, kind):
    rows, most, asked, trained = [], [], [], []
    prepare, train = stream.StreamRun._prepare, stream.StreamRun._train

    def counted(self, chunk):
        asked.append(chunk.number)
        prepared = prepare(self, chunk)
        rows.append(weakref.ref(prepared.samples.rows))
        most.append(sum(ref() is not None for ref in rows))
        return prepared

    def observed(self, chunk):
        trained.append(len(asked))
        return train(self, chunk)

    monkeypatch.setattr(stream.StreamRun, "_prepare", counted)
    monkeypatch.setattr(stream.StreamRun, "_train", observed)
    net, X, y = classifier()
    X, y = np.tile(X, (20, 1)), np.tile(y, 20)
    source = (in_chunks(X, y), None) if kind == "chunks" else (OnDisk(X), y)
    net.fit(*source, epochs=2, batch_size=BATCH)
    assert len(rows) == len(trained) == 2 * 57
    assert max(most) == 2
    ahead = [count - number for number, count in enumerate(trained, 1)]
    assert set(ahead) <= {0, 1}  # while a chunk is trained on, no more than the next has been asked for
    assert all(ref() is None for ref in rows)


def test_what_was_read_lives_no_longer_than_its_chunk():
    given, most = [], []
    net, X, y = classifier()

    class Counted(OnDisk):
        def __getitem__(self, key):
            rows = super().__getitem__(key)  # needs no conversion: the kernel trains on it as it is
            given.append(weakref.ref(rows))
            most.append(sum(ref() is not None for ref in given))
            return rows

    net.fit(Counted(np.tile(X, (20, 1))), np.tile(y, 20), epochs=2, batch_size=BATCH)
    assert len(given) == 2 * 57
    assert max(most) == 2
    assert all(ref() is None for ref in given)


def test_reading_goes_on_during_training(monkeypatch):
    """The second chunk is asked for while the first is being trained on."""
    net, X, y = classifier()
    asked, overlapped, train = threading.Event(), [], stream.StreamRun._train

    def chunks():
        yield X, y
        asked.set()
        yield X, y

    def waiting(self, chunk):
        overlapped.append(asked.wait(30))
        return train(self, chunk)

    monkeypatch.setattr(stream.StreamRun, "_train", waiting)
    net.fit(chunks())
    assert overlapped == [True, True]


def test_a_generator_may_fill_the_same_arrays_again():
    mine, other, X, y = twins(2)

    def reusing():
        rows, targets, weight = np.empty((30, 4)), np.empty(30, np.int64), np.empty(30)
        for start in range(0, 90, 30):
            rows[...], targets[...], weight[...] = X[start : start + 30], y[start : start + 30], start / 30
            yield rows, targets, weight

    weight = np.repeat([0.0, 1.0, 2.0], 30)
    history = mine.fit(reusing, epochs=20, metrics=["accuracy"], seed=0)
    expected = other.fit(in_chunks(X, y, weight, rows=30), epochs=20, metrics=["accuracy"], seed=0)
    assert bits(mine) == bits(other)
    assert dict(history) == dict(expected)


def test_the_reading_thread_has_the_callers_context():
    net, X, y = classifier()
    found = []

    def chunks():
        found.append(np.geterr()["divide"])
        yield X, y

    with np.errstate(divide="raise"):
        net.fit(chunks)
    assert found == ["raise"] or np.lib.NumpyVersion(np.__version__) < "2.0.0"  # a thread's own before NumPy 2


# --- errors ------------------------------------------------------------------------------------

ONES, ZEROS = np.ones((90, 4)), np.zeros(90, int)
BAD = [
    ({"X": ONES, "y": None}, "y is None"),
    ({"X": 3, "y": None}, "X is 3 and y is None"),
    ({"X": lambda: 3}, r"X\(\) returned 3"),
    ({"X": in_chunks(ONES, ZEROS), "y": ZEROS}, "y is given but X is a function"),
    ({"X": in_chunks(ONES, ZEROS)(), "y": ZEROS}, "y is given but X is a generator"),
    ({"X": in_chunks(ONES, ZEROS)(), "epochs": 2}, "X is a generator, which gives its chunks only once"),
    ({"X": in_chunks(ONES, ZEROS), "sample_weight": np.ones(90)}, "sample_weight is given but X is made of chunks"),
    ({"X": in_chunks(ONES, ZEROS), "validation_split": 0.1}, "validation_split is 0.1 but X is made of chunks"),
    ({"X": in_chunks(ONES, ZEROS), "class_weight": "balanced"}, "class_weight is 'balanced', which needs all targets"),
    ({"X": in_chunks(ONES, ZEROS), "class_weight": "even"}, "class_weight is 'even'"),
    ({"X": in_chunks(ONES, ZEROS), "metrics": ["f1"]}, "metrics holds 'f1', which is no mean over samples"),
    ({"X": []}, "X gave no chunks in epoch 1"),
    ({"X": [ONES]}, "chunk 0 of X is a ndarray; expected"),
    ({"X": [(ONES,)]}, "chunk 0 of X is 1 parts; expected"),
    ({"X": [(ONES.T, ZEROS)]}, "X of chunk 0 has 90 columns but the first layer takes 4"),
    ({"X": [(ONES, ZEROS[1:])]}, "y of chunk 0 has 89 rows but X has 90"),
    ({"X": [(ONES, ZEROS, [1.0])]}, "sample_weight of chunk 0 has shape"),
    ({"X": [(ONES, ZEROS, -np.ones(90))]}, "sample_weight of chunk 0 holds negative"),
    ({"X": OnDisk(ONES)}, "y is None"),
    ({"X": OnDisk(ONES[0]), "y": ZEROS}, "X has shape"),
    ({"X": OnDisk(ONES.T), "y": ZEROS}, "X has 90 columns but the first layer takes 4"),
    ({"X": OnDisk(ONES), "y": ZEROS[1:]}, "y has 89 rows but X has 90"),
    ({"X": OnDisk(ONES), "y": OnDisk(ZEROS[1:])}, "y has 89 rows but X has 90"),
    ({"X": OnDisk(ONES), "y": ZEROS, "sample_weight": [1.0]}, "sample_weight has shape"),
    ({"X": OnDisk(ONES), "y": ZEROS, "validation_split": 2.0}, "validation_split is 2.0"),
    ({"X": OnDisk(ONES * np.nan), "y": ZEROS, "shuffle": False}, r"X\[0:30\] holds nan at row 0, column 0"),
    ({"X": OnDisk(ONES.astype("U1")), "y": ZEROS, "shuffle": False}, r"X\[0:30\] has dtype <U1"),
    ({"X": OnDisk(ONES), "y": ZEROS + 3, "shuffle": False}, r"y\[0:30\] holds class 3"),
    ({"X": OnDisk(ONES), "y": ZEROS + 3, "class_weight": "balanced"}, r"y\[0:30\] holds class 3"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD)
def test_bad_input_leaves_the_network_as_it_was(wrong, message):
    net, X, y = classifier()
    before = bits(net)
    with pytest.raises((ValueError, TypeError), match=message):
        net.fit(**{"batch_size": BATCH, **wrong})
    assert bits(net) == before
    net.fit(X, y)


def test_a_bad_chunk_is_named_and_the_steps_before_stay():
    mine, other, X, y = twins(2)
    other.fit(X[:60], y[:60], batch_size=15, shuffle=False)  # 90 samples are 6 batches of 15, and a chunk has two
    X[70, 2] = np.inf
    with pytest.raises(ValueError, match=r"X\[60:90\] holds inf at row 10, column 2"):
        mine.fit(OnDisk(X), y, batch_size=BATCH, shuffle=False)
    assert bits(mine) == bits(other)
    with pytest.raises(ValueError, match="X of chunk 2 holds inf at row 6, column 2"):
        mine.fit(in_chunks(X, y), batch_size=BATCH)


def test_an_error_of_the_source_comes_as_it_is():
    net, X, y = classifier()
    error = OSError("the disk is gone")

    def gone():
        yield X, y
        raise error

    with pytest.raises(OSError, match="the disk is gone") as caught:
        net.fit(gone)
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].name == "gone"


def test_an_exhausted_iterator_has_no_second_epoch():
    net, X, y = classifier()
    same = iter([(X, y)])
    with pytest.raises(ValueError, match=r"X\(\) gave no chunks in epoch 2.*new iterable every time"):
        net.fit(lambda: same, epochs=3)


def test_an_error_in_training_ends_the_reading():
    net, X, y = classifier()
    closed = []

    def endless():
        try:
            while True:
                yield X, y
        finally:
            closed.append(threading.get_ident() != threading.main_thread().ident)

    net.lr = StepDecay(0.1, 1)
    net.lr.factor = lambda t: [][0]
    with pytest.raises(IndexError):
        net.fit(endless, epochs=10)
    assert closed == [True]  # by the thread that read


# --- Ctrl-C ------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c():
    """Ctrl-C, when called."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)  # in any thread, but Python's handler runs in the main one
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("number", [1, 5])
def test_interrupt_while_reading(ctrl_c, number):
    """The steps taken stay, the history comes back, and the thread and the generator have ended."""
    net, X, y = classifier()
    before, closed = bits(net), []

    def chunks():
        try:
            for i in itertools.count():
                if i == number:
                    ctrl_c()
                yield X, y
        finally:
            closed.append(True)

    history = net.fit(chunks, epochs=3, batch_size=30)
    steps = int(history.stopped.removeprefix("interrupted after ").removesuffix(" steps"))
    assert 3 * (number - 2) <= steps <= 3 * number  # that is when it came
    assert (bits(net) != before) or number == 1
    assert closed == [True]
    assert readers() == []
    assert not net.engine.plan().turns.busy


def test_interrupt_while_training(ctrl_c):
    net, X, y = classifier()
    X, y = np.tile(X, (20_000, 1)), np.tile(y, 20_000)  # some seconds
    timer = threading.Timer(0.2, ctrl_c)
    history = net.fit([(X[:90], y[:90])], batch_size=1)
    timer.start()
    history = net.fit(itertools.repeat((X, y)), batch_size=1)
    timer.join()
    assert history.stopped.startswith("interrupted")
    assert readers() == []


def test_interrupt_while_the_source_is_stuck(ctrl_c):
    """fit comes back while the read has not."""
    net, X, y = classifier()
    free = threading.Event()

    def stuck():
        yield X, y
        threading.Timer(0.1, ctrl_c).start()
        free.wait(60)
        yield X, y

    history = net.fit(stuck)
    assert history.stopped == "interrupted after 3 steps"
    left = readers()
    assert len(left) == 1  # it cannot be ended from outside, but does not go on to read
    free.set()
    left[0].join(30)


# --- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slices", "chunks"])
def test_a_killed_run_goes_on(tmp_path, kind):
    def start(epochs, *callbacks):
        net, X, y = classifier(optimizer=Adam(), lr=StepDecay(0.1, 3, 0.5))
        source = (in_chunks(X, y), None) if kind == "chunks" else (OnDisk(X), y)
        return net, net.fit(*source, epochs=epochs, batch_size=BATCH, seed=0, callbacks=callbacks)

    checkpoint = Checkpoint(tmp_path / "run.safetensors")
    with pytest.raises(Killed):
        start(9, killed_in(4), checkpoint)
    net, history = start(9, LambdaCallback(), checkpoint)
    other, expected = start(9)
    assert bits(net) == bits(other)
    assert dict(history) == dict(expected)


def test_a_checkpoint_belongs_to_its_chunks(tmp_path, monkeypatch):
    net, X, y = classifier()
    checkpoint = [Checkpoint(tmp_path / "run.safetensors")]
    net.fit(OnDisk(X), y, batch_size=BATCH, seed=0, callbacks=checkpoint)
    with pytest.raises(ValueError, match="chunk_rows is 0 but was 32"):
        net.fit(X, y, batch_size=BATCH, epochs=2, seed=0, callbacks=checkpoint)
    with pytest.raises(ValueError, match="batch_size is 8 but was 16"):
        net.fit(OnDisk(X), y, batch_size=8, epochs=2, seed=0, callbacks=checkpoint)


# --- memory ------------------------------------------------------------------------------------

LIMITED = """
import pathlib, resource, sys
import numpy as np
import fastnn
import fastnn.data.sources

def network():
    layers = [fastnn.Layer(1024, 4, fastnn.ReLU(), seed=0), fastnn.Layer(4, 2, fastnn.Identity(), seed=1)]
    return fastnn.NeuralNetwork(layers, fastnn.CrossEntropyLoss(), 0.01, dtype="float32")

def samples(rows):
    return np.memmap(sys.argv[1], "f2", "r", shape=(rows, 1024)), np.arange(rows) % 2

fastnn.data.sources.CHUNK_BYTES = 2**20
network().fit(*samples(2048), batch_size=64)  # compile
fastnn.data.sources.CHUNK_BYTES = 64 * 2**20

status = pathlib.Path("/proc/self/status").read_text()
used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
X, y = samples(200_000)
limit = 300 * 10**6
assert limit < X.nbytes
resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
for whole in (lambda: np.array(X), lambda: network().fit(np.asarray(X), y)):
    try:
        whole()
    except MemoryError:
        pass
    else:
        sys.exit("the limit is not enforced")
history = network().fit(X, y, batch_size=64, metrics=["accuracy"], verbose=0)
print(history["accuracy"][0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts these allocations on Linux")
def test_a_file_larger_than_the_memory_that_may_be_used(tmp_path):
    path = tmp_path / "samples"
    rng = np.random.default_rng(0)
    block = rng.normal(size=(2000, 1024)).astype(np.float16)
    block[1::2, :20] += 1  # so that the classes differ
    try:
        with path.open("wb") as file:
            for _ in range(100):
                file.write(block.tobytes())
        run = subprocess.run(
            [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=False,
            cwd=pathlib.Path(fastnn.__file__).parent.parent,
        )  # fmt: skip
    finally:
        path.unlink(missing_ok=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) > 0.9
