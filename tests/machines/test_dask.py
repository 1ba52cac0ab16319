"""Training on Dask: two worker processes of a real cluster."""

import os
import signal
import threading

import numpy as np
import pytest

import fastnn
from fastnn import (
    Adam,
    BatchNorm,
    Callback,
    Checkpoint,
    CosineDecay,
    CrossEntropyLoss,
    Dropout,
    EarlyStopping,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    Standardize,
    StandardizeTargets,
    StopTraining,
    Tanh,
)  # fmt: skip

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

from fastnn.data.held_out import held_out_rows, seed_of  # noqa: E402
from fastnn.distributed.dask import fit  # noqa: E402
from fastnn.distributed.proportion import dealt  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a worker is killed by a signal")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
CHUNKS = (150, 150, 150, 150)
UNEVEN = (10, 340, 1, 249)


@pytest.fixture(autouse=True)
def in_time():
    """End a test that hangs."""

    def late(*_):
        raise TimeoutError("the test took more than 240 seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 5}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client


def network(*stages, rate=0.02, optimizer=None, outs=2, seed=0, first=(), **settings):
    layers = [*first, Layer(5, 16, Tanh(), seed=seed), *stages, Layer(16, outs, Identity(), seed=seed + 1)]
    loss = CrossEntropyLoss() if outs == 2 else MSELoss()
    return NeuralNetwork(layers, loss, rate, optimizer or Adam(), **settings)


def arrays(chunks=CHUNKS, x=X, y=Y):
    return da.from_array(x, chunks=(chunks, x.shape[1])), da.from_array(y, chunks=(chunks, *y.shape[1:]))


def dealt_order(chunks):
    """Rows of chunks of equal size, one of each in turn."""
    return np.arange(sum(chunks)).reshape(len(chunks), -1).T.ravel()


def fitted(net=None, data=None, **settings):
    net = net or network()
    history = fit(net, *(data or arrays()), **{"epochs": 3, "batch_size": 60, "verbose": 0, "seed": 3} | settings)
    return net, history


def assert_same(one, other, tolerance=1e-9):
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=0, atol=tolerance)


# --- what a fit on many is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        network,
        lambda: network(rate=CosineDecay(0.05, 15, per="step"), optimizer="sgd"),
        lambda: network(clip_norm=0.1, clip_value=0.05),
        lambda: network(optimizer="adamw", dtype="float32"),
    ],
)
def test_every_batch_is_one_step_of_one_process(client, make):
    one, (many, history) = make(), fitted(make(), shuffle=False)
    one.layers[0].l2 = many.layers[0].l2 = 0.01
    order = dealt_order(CHUNKS)
    many, history = fitted(many, shuffle=False)
    alone = make()
    alone.fit(X[order], Y[order], epochs=3, batch_size=60, shuffle=False, verbose=0)
    alone.layers[0].l2 = 0.01
    expected = alone.fit(X[order], Y[order], epochs=3, batch_size=60, shuffle=False, verbose=0)
    assert_same(many, alone, 1e-9 if many.dtype == np.float64 else 1e-4)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    assert many.engine.state.steps == alone.engine.state.steps
    assert many.engine.state.epochs == alone.engine.state.epochs
    numbers = zip(many.engine.state.numbers, alone.engine.state.numbers)
    assert all(np.allclose(a, b, atol=1e-4) for a, b in numbers)


@pytest.mark.parametrize("stages", [(), (BatchNorm(),), (Dropout(0.3),)])
@pytest.mark.parametrize("chunks", [CHUNKS, (200, 301, 99)])
def test_the_number_of_workers_does_not_matter(client, stages, chunks):
    import copy

    two, h2 = fitted(network(*copy.deepcopy(stages)), arrays(chunks))
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as other,
    ):
        one, h1 = fitted(network(*copy.deepcopy(stages)), arrays(chunks), client=other)
    assert_same(one, two)
    np.testing.assert_allclose(h1["loss"], h2["loss"], rtol=1e-9)
    weights = zip(one.get_weights(), two.get_weights())
    assert all(np.allclose(a, b, atol=1e-9) for pair in weights for a, b in zip(*pair))  # running averages, too


@pytest.mark.parametrize("every", [1, 4])
def test_uneven_chunks_count_each_row_once(client, every):
    net, history = fitted(network(optimizer="sgd"), arrays(UNEVEN), epochs=1, batch_size=600, every=every)
    alone = network(optimizer="sgd")
    expected = alone.fit(X, Y, batch_size=600, verbose=0)
    assert_same(net, alone)
    assert history["loss"] == pytest.approx(expected["loss"])


def test_weights_of_samples_and_classes_count_as_in_fit(client):
    weight = RNG.uniform(0, 2, 600)
    net, _ = fitted(epochs=1, batch_size=600, sample_weight=da.from_array(weight, chunks=600), class_weight="balanced")
    alone = network()
    alone.fit(X, Y, batch_size=600, sample_weight=weight, class_weight="balanced", verbose=0)
    assert_same(net, alone)


def test_local_steps_learn_and_have_the_steps_of_all(client):
    net, history = fitted(every=4, epochs=30, metrics=["accuracy"], batch_size=30)
    assert net.engine.state.steps == 30 * 20
    assert history["accuracy"][-1] > 0.9
    assert history["loss"][-1] < history["loss"][0] / 2


def test_one_worker_and_local_steps_without_shuffling_are_a_fit(client):
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0", set_as_default=False
    ) as one:
        net, _ = fitted(data=arrays((600,)), every=5, client=one, shuffle=False)
    alone = network()
    alone.fit(X, Y, epochs=3, batch_size=60, shuffle=False, verbose=0)
    assert_same(net, alone)


def test_layers_that_standardise_measure_all_chunks(client):
    def make():
        layers = [Standardize(), Layer(5, 8, Tanh(), seed=0), Layer(8, 1, Identity(), seed=1), StandardizeTargets()]
        return NeuralNetwork(layers, MSELoss(), 0.1)

    x, y = X * np.arange(1, 6) + 1000, 50 * X[:, :1] + 7
    net, _ = fitted(make(), arrays(UNEVEN, x, y), batch_size=600, metrics=["mae"])
    alone = make()
    alone.fit(x, y, epochs=3, batch_size=600, verbose=0)
    assert_same(net, alone, 1e-7)
    np.testing.assert_allclose(net.layers[0].means, alone.layers[0].means)
    np.testing.assert_allclose(net.layers[-1].std, alone.layers[-1].std)


# --- what users pass -------------------------------------------------------------------------------


def test_frames_keep_their_names_and_unknown_lengths_do_not_matter(client):
    pandas = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(pandas.DataFrame(X, columns=list("abcde")).assign(y=Y), npartitions=3)
    frame = frame[frame.a > -0.5]  # now nobody knows the lengths
    net, _ = fitted(data=(frame[list("abcde")], frame["y"]), epochs=1, batch_size=600)
    assert net.feature_names == tuple("abcde")
    alone, keep = network(), X[:, 0] > -0.5
    alone.fit(X[keep], Y[keep], batch_size=600, verbose=0)
    assert_same(net, alone)


def test_columns_of_parquet_files_are_read_in_the_same_partitions(client, tmp_path):
    pandas = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(y=Y)
    for k in range(6):  # by itself y, of few bytes, would come in larger partitions than X
        frame[100 * k : 100 * k + 100].to_parquet(tmp_path / f"{k}.parquet")
    stored = dd.read_parquet(tmp_path)
    mine = fitted(data=(stored[list("abcde")], stored["y"]), sample_weight=stored["a"] ** 2)[0]
    assert_same(mine, fitted(data=arrays(100), sample_weight=arrays(100)[0][:, 0] ** 2)[0])


def test_what_inputs_and_targets_are_made_of_is_made_once(client, tmp_path):
    pandas = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")

    def read(k):
        (tmp_path / f"{k}-{os.urandom(8).hex()}").touch()
        rows = slice(150 * k, 150 * k + 150)
        return pandas.DataFrame(X[rows], columns=list("abcde")).assign(y=Y[rows])

    frame = dd.from_map(read, range(4), meta=read(0)[:0])
    [path.unlink() for path in tmp_path.iterdir()]
    assert_same(fitted(data=(frame[list("abcde")], frame["y"]))[0], fitted()[0])
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("how", ["delayed pairs", "delayed", "futures", "scattered", "persisted"])
def test_chunks_may_come_in_many_ways(client, how):
    pieces = [(X[k : k + 150], Y[k : k + 150]) for k in range(0, 600, 150)]
    xs, ys = zip(*pieces)
    data = {
        "delayed pairs": lambda: ([dask.delayed(pair) for pair in pieces],),
        "delayed": lambda: ([dask.delayed(x) for x in xs], [dask.delayed(y) for y in ys]),
        "futures": lambda: (client.map(np.array, xs), client.map(np.array, ys)),
        "scattered": lambda: (client.scatter(list(xs)), client.scatter(list(ys))),
        "persisted": lambda: client.persist(arrays()),
    }[how]()
    assert_same(fitted(data=data)[0], fitted()[0])


def test_chunks_without_rows_are_passed_over(client):
    empty = [dask.delayed(X[:0]), *[dask.delayed(X[k : k + 300]) for k in (0, 300)], dask.delayed(X[:0])]
    targets = [dask.delayed(Y[:0]), *[dask.delayed(Y[k : k + 300]) for k in (0, 300)], dask.delayed(Y[:0])]
    one, _ = fitted(data=(empty, targets), shuffle=False)
    assert_same(one, fitted(data=arrays((300, 300)), shuffle=False)[0])


def test_columns_cut_into_chunks_are_put_together(client):
    x, y = arrays()
    assert_same(fitted(data=(x.rechunk((150, 2)), y.rechunk(70)))[0], fitted()[0])


# --- what happens between the epochs -----------------------------------------------------------------


def test_validation_is_the_same_in_memory_and_on_workers(client):
    settings = {"metrics": ["accuracy", "log_loss"], "epochs": 2}
    weight = RNG.uniform(0, 1, 600)
    mine, h1 = fitted(validation_data=(X, Y, weight), **settings)
    there, h2 = fitted(validation_data=(*arrays(UNEVEN), da.from_array(weight, chunks=(UNEVEN,))), **settings)
    assert_same(mine, there)
    assert list(h1) == list(h2) == ["loss", "val_loss", "val_accuracy", "val_log_loss"]
    for name in h1:
        np.testing.assert_allclose(h1[name], h2[name], rtol=1e-9)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_part_of_the_rows_is_held_out_of_all_chunks(client, shuffle):
    """What is measured, the weights of classes and the steps are those of the rows that stay."""

    def make():
        return network(optimizer="sgd", first=[Standardize()])

    settings = {"class_weight": "balanced", "metrics": ["accuracy"], "epochs": 2, "shuffle": False}
    net, history = fitted(make(), arrays(UNEVEN), validation_split=0.25, validation_shuffle=shuffle, **settings)
    held, first = [], 0
    for number, count in enumerate(UNEVEN):
        some = dealt(np.array(UNEVEN), 150)[number] if shuffle else np.clip(first + count - 450, 0, count)
        rows = np.arange(first, first + count)
        first += count
        if some not in (0, count):
            held.append(rows[held_out_rows(count, some / count, seed_of(3, number) if shuffle else None, Y[rows])[1]])
        elif some:
            held.append(rows)
    held = np.concatenate(held)
    assert held.size == 150
    kept = [np.setdiff1d(np.arange(a, b), held) for a, b in zip(np.cumsum((0, *UNEVEN)), np.cumsum(UNEVEN))]
    kept = [rows for rows in kept if rows.size]
    chunks = [[dask.delayed(some[rows]) for rows in kept] for some in (X, Y)]
    other, h = fitted(make(), chunks, validation_data=(X[held], Y[held]), **settings)
    assert_same(net, other)
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history[name], h[name], rtol=1e-9)


def test_chunks_that_are_held_out_whole_are_not_measured(client):
    nets = [network(optimizer="sgd", first=[Standardize()]) for _ in range(2)]
    settings = {"epochs": 2, "shuffle": False, "class_weight": "balanced"}
    fitted(nets[0], arrays((300, 150, 150)), validation_split=0.25, validation_shuffle=False, **settings)
    chunks = [[dask.delayed(some[k]) for k in (slice(300), slice(300, 450))] for some in (X, Y)]
    fitted(nets[1], chunks, validation_data=(X[450:], Y[450:]), **settings)
    assert_same(*nets)


def test_what_is_held_out_stays_so_when_a_fit_goes_on(client, tmp_path):
    settings = {"validation_split": 0.2, "seed": None, "epochs": 2}
    for name in ("a", "b"):
        _, history = fitted(callbacks=Checkpoint(tmp_path / name), **settings)
        _, both = fitted(callbacks=Checkpoint(tmp_path / name), **{**settings, "epochs": 4})
        assert both["val_loss"][:2] == history["val_loss"]
        assert len(both["val_loss"]) == 4


def test_a_class_that_is_not_held_out_is_named(client):
    y = np.where(np.arange(600) < 590, 0, 1)
    with pytest.warns(UserWarning, match="no sample of class 0 for validation; validation_shuffle=True"):
        fitted(data=arrays(y=y), validation_split=0.01, validation_shuffle=False, epochs=1)


def test_many_small_chunks_give_their_share(client):
    chunks = [[dask.delayed(some[k : k + 3]) for k in range(0, 60, 3)] for some in (X, Y)]
    _, history = fitted(data=chunks, validation_split=0.1, metrics=["accuracy"])
    assert np.isclose(np.array(history["val_accuracy"]) * 6 % 1, 0).all()  # of six rows


def test_callbacks_have_the_weights_of_now_and_may_change_the_rate_and_stop(client):
    seen = []

    class Look(Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(self.net.parameters)
            self.net.lr = 0.0 if epoch == 2 else self.net.lr
            if epoch == 4:
                raise StopTraining("enough")

    net, history = fitted(epochs=9, callbacks=[Look()])
    assert history.epoch == [1, 2, 3, 4]
    assert history.stopped == "enough"
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[1], seen[3])
    assert np.array_equal(seen[3], net.parameters)


def test_early_stopping_gives_back_the_best_weights(client):
    net, history = fitted(network(rate=0.5), epochs=40, validation_data=(X, Y), callbacks=EarlyStopping(patience=2))
    assert len(history.epoch) < 40
    assert net.evaluate(X, Y)["loss"] == pytest.approx(min(history["val_loss"]))


@pytest.mark.parametrize("every", [1, 3])
def test_a_checkpoint_goes_on_with_the_same_bits(client, tmp_path, every):
    data = arrays((600,))
    whole, _ = fitted(network(Dropout(0.2)), data, epochs=4, every=every)
    _, first = fitted(network(Dropout(0.2)), data, epochs=2, every=every, callbacks=Checkpoint(tmp_path / "a"))
    net, history = fitted(network(Dropout(0.2)), data, epochs=4, every=every, callbacks=Checkpoint(tmp_path / "a"))
    assert history["loss"][:2] == first["loss"]
    assert np.array_equal(net.parameters, whole.parameters)
    with pytest.raises(ValueError, match="every is"):
        fitted(network(Dropout(0.2)), data, epochs=5, every=every + 1, callbacks=Checkpoint(tmp_path / "a"))
    with pytest.raises(ValueError, match="samples"):
        fitted(network(Dropout(0.2)), arrays((300, 300)), epochs=5, every=every, callbacks=Checkpoint(tmp_path / "a"))


def test_divergence_gives_back_the_last_good_weights(client):
    net = network(rate=1e300, optimizer="sgd", outs=1)
    before = net.parameters
    with pytest.raises(fastnn.DivergedError):
        fitted(net, arrays(y=X[:, 0]))
    assert np.array_equal(net.parameters, before)


def test_ctrl_c_ends_the_fit_and_the_network_goes_on(client):
    threading.Timer(3.0, signal.raise_signal, [signal.SIGINT]).start()
    net, history = fitted(network(), epochs=100_000)
    assert "interrupted" in history.stopped
    fitted(net, epochs=1)
    assert client.submit(sum, [1, 2]).result() == 3


# --- workers that die --------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 5])
def test_a_worker_that_is_killed_does_not_end_the_run(client, every):
    client.wait_for_workers(2)
    pids = list(client.run(os.getpid).values())
    killed = []

    class Kill(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:  # in the middle of the next one
                threading.Timer(0.2, lambda: killed.append(os.kill(pids[0], signal.SIGKILL))).start()

    settings = {"epochs": 6, "batch_size": 30, "every": every}
    net, history = fitted(callbacks=Kill(), **settings)
    assert killed
    assert len(history.epoch) == 6
    if every == 1:
        assert_same(net, fitted(**settings)[0])
    assert history["loss"][-1] < history["loss"][0]
    client.wait_for_workers(2)


def test_chunks_that_cannot_come_again_are_an_error(cluster, client):
    client.wait_for_workers(2)
    workers = list(client.scheduler_info()["workers"])
    chunks = client.scatter([(X[:300], Y[:300])], workers=workers[:1]) + client.scatter(
        [(X[300:], Y[300:])], workers=workers[1:]
    )
    pids = client.run(os.getpid)

    class Kill(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                os.kill(pids[workers[0]], signal.SIGKILL)

    net = network()
    with pytest.raises(RuntimeError, match="scattered"):
        fitted(net, (chunks,), epochs=2000, callbacks=Kill())
    assert np.isfinite(net.parameters).all()
    client.wait_for_workers(2)


def test_cancelled_chunks_are_an_error(client):
    def cancel(epoch, logs):
        client.cancel([distributed.Future(key, client) for key in list(client.futures) if "fastnn-part" in str(key)])

    with pytest.raises(RuntimeError, match="cannot make again"):
        fitted(epochs=2, callbacks=fastnn.LambdaCallback(on_epoch_end=cancel))


# --- what is refused -----------------------------------------------------------------------------------


def bad(x=X, y=Y, cut=300):
    return [dask.delayed(x[:cut]), dask.delayed(X[cut:])], [dask.delayed(y[:cut]), dask.delayed(Y[cut:])]


def with_nan():
    x = X.copy()
    x[7, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("data", "settings", "error", "text"),
    [
        (lambda: (X, Y), {}, TypeError, r"dask\.array\.from_array"),
        (lambda: (arrays()[0], Y), {}, TypeError, "y is"),
        (lambda: (arrays()[0], None), {}, ValueError, "y is None"),
        (lambda: (dask.delayed((X, Y)), None), {}, TypeError, "X is .*: a list of it alone is one chunk"),
        (lambda: (bad()[0], dask.delayed(Y)), {}, TypeError, "y is .*: a list of it alone is one chunk"),
        (lambda: (arrays()[0], arrays((300, 299), X[:599], Y[:599])[1]), {}, ValueError, "599 rows"),
        (lambda: (bad()[0], bad()[1][:1]), {}, ValueError, "1 chunks"),
        (lambda: bad(x=X[:, :4]), {}, ValueError, r"X of chunk 0 has 4 columns"),
        (lambda: bad(y=Y[:299]), {}, ValueError, "y of chunk 0 has 299 rows"),
        (lambda: bad(x=with_nan()), {}, ValueError, r"X of chunk 0.*nan"),
        (lambda: bad(y=Y + 1), {}, ValueError, r"y of chunk 0"),
        (lambda: bad(y=Y.astype(float)), {}, ValueError, "chunks disagree"),
        (lambda: bad(x=X.astype(np.float32)), {}, ValueError, "chunks disagree: dtype of X"),
        (lambda: ([dask.delayed(X[:0])], [dask.delayed(Y[:0])]), {}, ValueError, "no rows in any"),
        (arrays, {"every": 0}, ValueError, "every"),
        (arrays, {"validation_split": 1.0}, ValueError, "validation_split is 1.0"),
        (arrays, {"validation_split": 1e-4}, ValueError, "validation_split is 0.0001 of 600 samples, which leaves one"),
        (arrays, {"validation_split": 0.2, "metrics": ["f1"]}, ValueError, "no mean"),
        (arrays, {"metrics": ["f1"]}, ValueError, "no mean"),
        (arrays, {"sample_weight": np.ones(600)}, TypeError, "sample_weight"),
        (arrays, {"sample_weight": da.zeros(600, chunks=150)}, ValueError, "all samples"),
        (arrays, {"client": "localhost"}, TypeError, "client"),
        (arrays, {"validation_data": (arrays()[0][:, :4], arrays()[1])}, ValueError, "X of validation_data of chunk"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_changes_nothing(client, data, settings, error, text):
    net = network()
    before = net.parameters
    with pytest.raises(error, match=text):
        fitted(net, data(), **settings)
    assert np.array_equal(net.parameters, before)
    assert net.engine.state.steps == 0


def test_a_batch_with_one_row_of_a_chunk_is_refused_where_a_layer_normalises_over_it(client):
    with pytest.raises(ValueError, match="fewer chunks"):
        fitted(network(BatchNorm()), arrays(UNEVEN))


def test_an_error_of_a_chunk_on_a_worker_comes_to_the_client(client):
    def broken():
        raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="the disk is on fire"):
        fitted(data=([dask.delayed(broken)()], [dask.delayed(Y)]))


def test_another_version_on_a_worker_is_named(client):
    client.run(set_version, "0.0.1")
    try:
        with pytest.raises(ImportError, match=r"0\.0\.1.*pip|install"):
            fitted()
    finally:
        client.run(set_version, fastnn.__version__)


def set_version(version):
    from fastnn.distributed import part

    part.__version__ = version


def test_without_a_client_the_error_says_how_to_have_one(client):
    before = client
    with distributed.Client(processes=False, n_workers=1, dashboard_address=":0", set_as_default=False) as closed:
        pass
    with pytest.raises(ValueError, match="client is closed"):
        fitted(client=closed)
    assert before.status == "running"


def test_no_client_at_all(monkeypatch):
    def none(*_, **__):
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "get_client", none)
    with pytest.raises(ValueError, match=r"distributed\.Client\(\)"):
        fit(network(), *arrays())
