"""Inputs far from 0, such as seconds since 1970, in float32: measured and shifted before they are narrowed."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from networks import Killed, bits, killed_in

import fastnn
from fastnn import (
    Adam,
    Checkpoint,
    Identity,
    LambdaCallback,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    Standardize,
    Tanh,
    explain,
    reference,
)  # fmt: skip
from fastnn.data.moments import standard

START = 1_700_000_000
RNG = np.random.default_rng(0)
SECONDS = START + RNG.permutation(3600).reshape(-1, 1)
X = np.column_stack([SECONDS[:, 0], RNG.normal(size=3600), np.full(3600, 14.62)])
Y = np.sin((SECONDS[:, 0] - START) / 3600 * 6) + 0.1 * X[:, 1]


def network(dtype="float32", ins=3, stage=True, lr=0.01):
    layers = [Layer(ins, 16, Tanh(), seed=0), Layer(16, 1, Identity(), seed=1)]
    return NeuralNetwork([Standardize(), *layers] if stage else layers, MSELoss(), lr, Adam(), dtype=dtype)


def fitted(X=X, y=Y, epochs=2, **more):
    net = network(ins=X.shape[1])
    net.fit(X, y, epochs, seed=0, verbose=0, **more)
    return net


def r2(net, X, y):
    return 1 - np.mean((net.predict(X)[:, 0] - y) ** 2) / np.var(y)


def shifted(net, X):
    """What the network behind the layer should get: in float64, by hand."""
    first = net.layers[0]
    return (np.asarray(X, np.float64) - first.means[:, 0]) * first.row("scale")[:, 0]


def test_seconds_since_1970_are_learnt_in_float32_as_in_float64():
    scores = {}
    for dtype in ("float32", "float64"):
        net = network(dtype)
        net.fit(X, Y, 30, seed=0, verbose=0)
        scores[dtype] = r2(net, X, Y)
    assert scores["float32"] > 0.98
    assert abs(scores["float32"] - scores["float64"]) < 0.01


def test_only_what_is_far_in_float32_has_an_offset():
    net = fitted()
    first = net.layers[0]
    assert (first.offset.ravel() != 0).tolist() == [True, False, False]
    np.testing.assert_allclose(first.means[:, 0], X.mean(axis=0), rtol=1e-12, atol=1e-6)
    assert first.means[2] == np.float32(14.62)
    np.testing.assert_allclose(1 / first.row("scale").ravel(), [X[:, 0].std(), X[:, 1].std(), 1], rtol=1e-5)
    plain = network("float64")
    plain.fit(X, Y, 1, verbose=0)
    assert not plain.layers[0].offset.any()
    assert plain.engine.form.offset is None


DOORS = {
    "predict": lambda net, X: net.predict(X),
    "one by one": lambda net, X: np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))]),
    "forward_pass": lambda net, X: net.forward_pass(X.T).T,
    "column by column": lambda net, X: np.concatenate([net.forward_pass(X[i : i + 1].T) for i in range(len(X))]),
    "fortran": lambda net, X: net.predict(np.asfortranarray(X)),
    "lists": lambda net, X: net.predict(X.tolist()),
    "objects": lambda net, X: net.predict(X.astype(object)),
    "sparse": lambda net, X: net.predict(pytest.importorskip("scipy.sparse").csr_matrix(X)),
    "frame": lambda net, X: net.predict(pytest.importorskip("pandas").DataFrame(X)),
    "bank": lambda net, X: NetworkBank([net, network()]).predict(X)[0],
    "gradients": lambda net, X: net.predict(X) if net.gradients(X.T, net.predict(X).T)[3] < 1e-9 else None,
    "evaluate": lambda net, X: net.predict(X) if net.evaluate(X, net.predict(X))["loss"] < 1e-9 else None,
    "vector": lambda net, X: net.predict(X) if net.loss_and_gradient(X, net.predict(X))[0] < 1e-9 else None,
    "explain": lambda net, X: np.stack([explain(net, row[:, None], [[0.0]]).xs[-1][:, 0] for row in X]),
}


@pytest.mark.parametrize("door", DOORS)
def test_all_doors_take_the_offset_off_before_they_narrow(door):
    net, some = fitted(), X[:50]
    inner = NeuralNetwork(net.layers[1:], MSELoss(), 0.1)
    wanted = inner.predict(shifted(net, some))
    np.testing.assert_allclose(DOORS[door](net, some), wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "float64", "longdouble"])
def test_integers_are_taken_as_they_are(dtype):
    net = fitted(SECONDS.astype(dtype), Y)
    wanted = fitted(SECONDS.astype(float), Y)
    assert bits(net) == bits(wanted)
    for rows in (SECONDS, SECONDS[:1]):
        np.testing.assert_array_equal(net.predict(rows.astype(dtype)), wanted.predict(rows.astype(float)))


def test_inputs_that_are_float32_already_pass_too():
    far = (np.arange(100)[:, None] * 128 + START).astype(np.float32)
    net = fitted(far, np.linspace(0, 1, 100))
    assert net.layers[0].offset.all()
    np.testing.assert_array_equal(net.predict(far), net.predict(far.astype(float)))
    np.testing.assert_array_equal(net.predict(far[:1]), net.predict(far)[:1])
    np.testing.assert_array_equal(net.forward_pass(far[:1].T), net.predict(far)[:1])


def trained_in_columns(net):
    net.train(X.T, Y[None], batch_size=32, epochs=2)


def trained_in_chunks(net):
    net.fit(lambda: ((X[i : i + 1800], Y[i : i + 1800]) for i in (0, 1800)), epochs=2, shuffle=False, verbose=0)


def trained_by_partial_fit(net):
    net.partial_fit(X, Y)
    net.partial_fit(X, Y)


@pytest.mark.parametrize(
    "train",
    [
        trained_in_columns, trained_in_chunks, trained_by_partial_fit,
        lambda net: net.fit_lbfgs(X, Y, 60),
        lambda net: NetworkBank([net, network()]).fit(X, Y, 2, verbose=0),
        lambda net: net.fit(X, Y, 2, verbose=0, validation_split=0.1),
        lambda net: net.fit(pytest.importorskip("scipy.sparse").csr_matrix(X), Y, 2, verbose=0),
    ],
)  # fmt: skip
def test_all_ways_to_train_measure_what_came(train):
    net = network()
    assert train(net) is not False
    np.testing.assert_allclose(net.layers[0].means[0], X[:, 0].mean(), atol=60)
    assert 0.8 < X[:, 0].std() * net.layers[0].row("scale")[0] < 1.3
    assert r2(net, X, Y) > 0.5


def test_a_stream_from_disk_is_measured_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(fastnn.data.sources, "CHUNK_BYTES", 32 * 16 * 4)
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / name, array)
    on_disk = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    net, wanted = network(), network()
    wanted.fit(X, Y, 2, shuffle=False, verbose=0)
    history = net.fit(*on_disk, 2, shuffle=False, verbose=0, validation_data=(X[:64], Y[:64]))
    np.testing.assert_allclose(net.layers[0].means, wanted.layers[0].means, rtol=1e-12)
    np.testing.assert_allclose(net.predict(X), wanted.predict(X), atol=1e-3)
    assert history["val_loss"][-1] == pytest.approx(net.evaluate(X[:64], Y[:64])["loss"], rel=1e-6)


def test_validation_and_find_lr_see_the_same():
    net = network()
    history = net.fit(X, Y, 3, validation_data=(X[:500], Y[:500]), seed=0, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(net.evaluate(X[:500], Y[:500])["loss"], rel=1e-6)
    fresh = network()
    before = bits(fresh)
    losses = fresh.find_lr(X, Y, seed=0).losses
    assert bits(fresh) == before
    assert not fresh.layers[0].fitted
    np.testing.assert_allclose(losses, network("float64").find_lr(X, Y, seed=0).losses[: len(losses)], rtol=0.05)


def test_bad_targets_leave_the_network_as_it_was():
    net = network()
    before = bits(net)
    for call in (lambda: net.fit(X, Y[:5]), lambda: net.train(X.T, Y[:5]), lambda: net.fit_lbfgs(X, Y[:5])):
        with pytest.raises(ValueError, match=r"y|t"):
            call()
    with pytest.raises(ValueError, match="nan at row 3, column 0"):
        net.fit(np.where(np.arange(3600)[:, None] == 3, np.nan, X), Y)
    assert bits(net) == before
    assert not net.layers[0].fitted


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("held", ["data", "split"])
def test_in_a_bank_each_network_is_as_if_alone(bootstrap, held):
    end = {"validation_split": 0.25, "validation_shuffle": False}  # a draw would be that of the first network's seed
    more = {"validation_data": (X[:50], Y[:50])} if held == "data" else end
    ready = fitted(X + 1e9)  # an offset of its own, from before
    nets = [network(), network(), copy.deepcopy(ready), network(stage=False)]
    alone = copy.deepcopy(nets)
    bank = NetworkBank(nets)
    histories = bank.fit(X, Y, 2, seed=5, verbose=0, bootstrap=bootstrap, **more)
    for k, net in enumerate(alone):
        rows, targets, own = X, Y, more
        if bootstrap:
            end = 3600 if held == "data" else 2700
            drawn = bank.bootstrap_rows(end, 5 + k)
            rows, targets = X[:end][drawn], Y[:end][drawn]
            own = more if held == "data" else {"validation_data": (X[end:], Y[end:])}
        history = net.fit(rows, targets, 2, seed=5 + k, verbose=0, **own)
        assert bits(bank[k]) == bits(net)
        assert dict(histories[k]) == dict(history)
        np.testing.assert_array_equal(bank.predict(X[:40])[k], net.predict(X[:40]))
        assert bank.evaluate(X, Y)["loss"][k] == net.evaluate(X, Y)["loss"]


def test_an_offset_is_kept_wherever_a_network_is(tmp_path):
    net = fitted()
    net.save(tmp_path / "net")
    twin = network()
    twin.set_weights(net.get_weights())
    used = network()
    used.predict(X)  # it has a plan already
    used.set_weights(net.get_weights())
    rounds = (fastnn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net))
    for other in (*rounds, twin, used):
        np.testing.assert_array_equal(other.layers[0].offset, net.layers[0].offset)
        for rows in (X, X[:1]):
            np.testing.assert_array_equal(other.predict(rows), net.predict(rows))


def in_chunks():
    return ((X[i : i + 1200], Y[i : i + 1200]) for i in range(0, 3600, 1200))


@pytest.mark.parametrize("data", [(X, Y), (in_chunks,)])
def test_a_fit_goes_on_from_its_checkpoint_with_its_offset(tmp_path, data):
    def fit(*callbacks):
        net = network()
        more = {"validation_data": (X[:100], Y[:100]), "seed": 0, "verbose": 0}
        return net.fit(*data, epochs=4, callbacks=callbacks, **more), net

    history, whole = fit()
    with pytest.raises(Killed):
        fit(Checkpoint(tmp_path / "fit"), killed_in(3))
    again, net = fit(Checkpoint(tmp_path / "fit"), LambdaCallback())
    assert bits(net) == bits(whole)
    assert dict(again) == dict(history)
    assert net.layers[0].offset[0] != 0


def test_files_from_before_there_was_an_offset_load(tmp_path):
    tensors = pytest.importorskip("safetensors.numpy")
    net = network("float32", ins=2)
    net.fit(X[:, 1:], Y, 1, verbose=0)
    net.save(tmp_path / "net")
    arrays = tensors.load_file(tmp_path / "net")
    with pytest.importorskip("safetensors").safe_open(tmp_path / "net", "np") as file:
        metadata = file.metadata()
    about = json.loads(metadata["fastnn"])
    assert about.pop("feature_names") is None
    metadata["fastnn"] = json.dumps(about)
    assert not arrays.pop("layers.0.offset").any()
    arrays.pop("layers.0.offset_low")
    tensors.save_file(arrays, tmp_path / "old", metadata)
    np.testing.assert_array_equal(fastnn.load(tmp_path / "old").predict(X[:, 1:]), net.predict(X[:, 1:]))
    arrays.pop("layers.0.mean")
    tensors.save_file(arrays, tmp_path / "broken", metadata)
    with pytest.raises(ValueError, match=r"lacks the array 'layers.0.mean'"):
        fastnn.load(tmp_path / "broken")


def test_an_offset_is_set_as_a_whole_and_heard_of():
    net, row = network(ins=1), np.array([[START + 5.0]])
    first = net.layers[0]
    for call in (
        lambda: net.predict(row),
        lambda: net.forward_pass(row),
        lambda: net.predict(np.tile(row, (3, 1)))[:1],
    ):
        first.offset = np.zeros((1, 1))
        wide = call()
        first.offset = [[START]]
        assert not np.allclose(wide, call())
        np.testing.assert_allclose(
            call(),
            NeuralNetwork(net.layers[1:], MSELoss(), 0.1).predict([[row[0, 0] - first.offset.item()]]),
            rtol=1e-5,
        )
    for place in (first.offset, first.row("offset")):
        with pytest.raises(ValueError, match="read-only"):
            place[...] = 0
    with pytest.raises(ValueError, match=r"offset has shape \(2,\)"):
        first.offset = [1, 2]


def test_networks_that_share_the_layer_all_hear_of_its_offset():
    first = Standardize()
    nets = [
        NeuralNetwork([first, Layer(1, 4, Tanh(), seed=k), Layer(4, 1, Identity(), seed=k)], MSELoss(), 0.01,
                      dtype="float32") for k in range(2)
    ]  # fmt: skip
    nets[1].predict(SECONDS)  # its plan knows of no offset
    nets[1].predict(SECONDS[:1])
    nets[0].fit(SECONDS, Y, verbose=0)
    inner = NeuralNetwork(nets[1].layers[1:], MSELoss(), 0.1)
    for rows in (SECONDS[:1], SECONDS):
        np.testing.assert_allclose(nets[1].predict(rows), inner.predict(shifted(nets[1], rows)), atol=1e-5)


def test_adapt_takes_what_users_have():
    net = network(ins=1)
    net.predict(SECONDS)
    for rows in (SECONDS, SECONDS.astype(float), SECONDS.tolist()):
        net.layers[0].adapt(rows + np.array(0))
        np.testing.assert_allclose(net.layers[0].means, SECONDS.mean(), atol=1e-5)
        np.testing.assert_allclose(
            net.predict(SECONDS),
            NeuralNetwork(net.layers[1:], MSELoss(), 0.1).predict(shifted(net, SECONDS)),
            atol=1e-5,
        )
    for wrong in (SECONDS.T, [[np.nan]], [["a"]], []):
        with pytest.raises((ValueError, TypeError), match="rows"):
            net.layers[0].adapt(wrong)
    with pytest.raises(ValueError, match="in no network yet"):
        Standardize().adapt(SECONDS)


def test_a_network_converted_to_float32_keeps_what_it_measured():
    net = network("float64", ins=1)
    net.fit(SECONDS, Y, 2, verbose=0)
    wanted = net.predict(SECONDS)
    narrow = NeuralNetwork(copy.deepcopy(net.layers), MSELoss(), 0.1, dtype="float32")
    assert narrow.layers[0].offset.all()
    np.testing.assert_allclose(narrow.predict(SECONDS), wanted, atol=1e-5)
    wide = NeuralNetwork(copy.deepcopy(narrow.layers), MSELoss(), 0.1, dtype="float64")
    np.testing.assert_allclose(wide.predict(SECONDS), wanted, atol=1e-5)
    np.testing.assert_allclose(wide.predict(SECONDS[:1]), wanted[:1], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e20])
@pytest.mark.parametrize("given", [np.float64, np.float32])
def test_small_and_large_inputs_scale(dtype, size, given):
    net = network(dtype)
    few = np.column_stack([X[:, 1] * size, size * 1000 + X[:, 1] * size, np.full(3600, size)]).astype(given)
    net.fit(few, Y, 1, verbose=0)
    x = np.asarray(shifted(net, few), np.float64)
    np.testing.assert_allclose(x[:, :2].std(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(x[:, :2].mean(axis=0), 0, atol=1e-3)
    assert np.abs(x[:, 2]).max() <= 1e-6 * size
    assert net.layers[0].row("scale")[2] == 1
    assert np.isfinite(net.predict(few + few)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 40), st.sampled_from([0.0, 1e3, -1.7e9, 1.7e12]),
    st.sampled_from([1.0, 1e3]), st.booleans(),
)  # fmt: skip
def test_a_float32_network_equals_the_reference(seed, ins, n, far, spread, by_fit):
    rng = np.random.default_rng(seed)
    x = far + spread * rng.normal(size=(ins, n))
    t = rng.normal(size=(2, n))
    layers = [Standardize(), Layer(ins, 4, Tanh(), seed=0), Layer(4, 2, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.05, dtype="float32")
    net.layers[0].adapt(x.T)
    assert bool(net.layers[0].offset.any()) == (np.abs(x.mean(axis=1) / x.std(axis=1)).max() > 256)
    slow = reference.copy_of(net)
    np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), atol=1e-4)
    for ours, theirs in zip(net.gradients(x, t)[:3], slow.gradients(x, t)[:3]):
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4 * max(1, np.abs(b).max(initial=0)))
    if by_fit:
        net.fit(x.T, t.T, 2, batch_size=7, shuffle=False, verbose=0)
    else:
        net.train(x, t, 2, batch_size=7)
    slow.train(x, t, 2, batch_size=7, equal_batches=by_fit)
    np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), atol=1e-3)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([0, 1e9, 1e150])
)
def test_parts_are_measured_as_the_whole(seed, sizes, far):
    rng = np.random.default_rng(seed)
    parts = [far + max(1.0, far * 1e-6) * rng.normal(size=(size, 3)) for size in sizes]
    whole = np.concatenate(parts)
    mean, std = whole.mean(axis=0), whole.std(axis=0)
    found = standard(iter(parts), 3, np.dtype(np.float64))
    np.testing.assert_allclose(found.mean + found.offset, mean, rtol=1e-9, atol=1e-9)
    if len(whole) > 1:
        np.testing.assert_allclose(1 / found.scale, std, rtol=1e-6)
    assert standard([], 3, np.dtype(np.float64)) is None


def test_what_is_too_far_for_float32_is_an_error():
    net = fitted()
    for rows in (np.full((2, 3), 1e39), np.full((1, 3), -1e39)):
        for call in (lambda rows=rows: net.predict(rows), lambda rows=rows: net.forward_pass(rows.T)):
            with pytest.raises(ValueError, match="too large for float32"):
                call()
    net.layers[0].offset = np.full((3, 1), -3e38)
    with pytest.raises(ValueError, match="too far, for float32"):
        net.predict(np.full((1, 3), 3e38))


@pytest.mark.parametrize("size", [1e300, 1e160, 1.0, 1e-160, 1e-300])
@pytest.mark.parametrize("center", [0.0, 10.0])
def test_no_size_overflows_or_vanishes(size, center):
    u = np.random.default_rng(0).normal(center, 1.0, (300, 1))
    net = NeuralNetwork([Standardize(), Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)
    net.fit(u * size, u[:, 0] - center, 50, verbose=0, seed=0)
    assert net.evaluate(u * size, u[:, 0] - center)["loss"] < 1e-3
    np.testing.assert_allclose(net.layers[0].row("scale")[0, 0] * size, 1 / u.std(), rtol=1e-12)


@pytest.mark.parametrize("largest", [2**53, 2**60, 1e30, 1e300])
def test_rounding_errors_of_large_constants_stay_small(largest):
    x = largest * (1 + np.finfo(float).eps * np.random.default_rng(0).integers(-2, 3, (200, 1)))
    net = NeuralNetwork([Standardize(), Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)
    assert net.fit(x, np.zeros(200), 5, verbose=0, seed=0)["loss"][-1] < 1
