"""Predictions and metrics are on the scale of the targets; outputs are what the loss takes."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score
from strategies import LOSSES, built_in

import fastnn
from fastnn import (
    Adam,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    EarlyStopping,
    ElementwiseLoss,
    Identity,
    Layer,
    LossFunction,
    ModelCheckpoint,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    Tanh,
    explain,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
RATES = np.exp(1.5 + X[:, 0] - 0.5 * X[:, 1])
COUNTS = RNG.poisson(RATES)


def network(loss=None, dtype="float64", outs=1, seed=0, ins=3):
    layers = [Layer(ins, 12, Tanh(), seed=seed), Layer(12, outs, Identity(), seed=seed + 1)]
    return NeuralNetwork(layers, loss or PoissonNLLLoss(), 0.01, Adam(), dtype=dtype)


class SoftplusLoss(ElementwiseLoss):
    """Squared error of softplus(v)."""

    def f(self, v, t):
        return (np.log1p(np.exp(v)) - t) ** 2

    def df(self, v, t):
        return 2 * (np.log1p(np.exp(v)) - t) / (1 + np.exp(-v))

    def predictions(self, outputs):
        return np.log1p(np.exp(outputs))


@pytest.mark.parametrize("cls", LOSSES)
def test_predictions_of_losses_are_what_minimises_them(cls):
    """Of one value the best output predicts that value; of classes and labels predictions are the outputs."""
    loss, outputs = cls.example(), np.array([[-0.5, 0.2], [0.7, 1.5]])
    found = loss.predictions(outputs)
    if loss.target == "class" or (loss.domain is not None and loss.domain.highest == 1):
        assert found is outputs
        return
    for output, value in zip(outputs.ravel(), found.ravel()):
        at = [loss.loss(np.array([[v]]), np.array([[value]])) for v in (output - 0.1, output, output + 0.1)]
        assert np.argmin(at) == 1


DOORS = {
    "rows": lambda net, X: net.predict(X),
    "one by one": lambda net, X: np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))]),
    "views": lambda net, X: np.concatenate([net.predict(np.asfortranarray(X)[i : i + 1]) for i in range(len(X))]),
    "lists": lambda net, X: net.predict(X.tolist()),
    "float32": lambda net, X: net.predict(X.astype(np.float32)),
    "sparse": lambda net, X: net.predict(pytest.importorskip("scipy.sparse").csr_matrix(X)),
    "frame": lambda net, X: net.predict(pytest.importorskip("pandas").DataFrame(X)),
    "bank": lambda net, X: NetworkBank([net, network(net.loss_function, net.dtype, seed=4)]).predict(X)[0],
    "mean": lambda net, X: NetworkBank([net, copy.deepcopy(net)]).predict_mean(X),
    "pickle": lambda net, X: pickle.loads(pickle.dumps(net)).predict(X),
    "deepcopy": lambda net, X: copy.deepcopy(net).predict(X),
    "copy": lambda net, X: copy.copy(net).predict(X),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [PoissonNLLLoss(), SoftplusLoss(), MSELoss()], ids=repr)
@pytest.mark.parametrize("door", DOORS)
def test_all_doors_predict_on_the_scale_of_the_targets(door, loss, dtype):
    net, some = network(loss, dtype), X[:40].astype(np.float32)
    found = DOORS[door](net, some.astype(dtype))
    assert found.dtype == net.dtype
    raw = net.forward_pass(some.T).T
    np.testing.assert_allclose(found, np.exp(raw) if isinstance(loss, PoissonNLLLoss) else loss.predictions(raw), 1e-5)


@pytest.mark.parametrize("make", [lambda X: X, lambda X: X[:1], lambda X: X.tolist(), lambda X: np.asfortranarray(X)])
def test_outputs_are_the_rows_of_the_forward_pass(make):
    net = network()
    np.testing.assert_array_equal(net.outputs(make(X)), net.forward_pass(np.array(make(X)).T).T)
    np.testing.assert_array_equal(NetworkBank([net]).outputs(X)[0], net.outputs(X))
    sparse = pytest.importorskip("scipy.sparse")
    np.testing.assert_array_equal(net.outputs(sparse.csr_matrix(X)), net.outputs(X))
    with pytest.raises(ValueError, match="nan at row 1"):
        net.outputs([[1, 2, 3], [np.nan, 2, 3]])
    with pytest.raises(ValueError, match="expected shape"):
        net.outputs(X.T)


def test_files_predict_as_they_did(tmp_path):
    for loss in (PoissonNLLLoss(), SoftplusLoss()):
        net = network(loss)
        net.save(tmp_path / "net")
        twin = fastnn.load(tmp_path / "net", custom=[SoftplusLoss])
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_metrics_are_of_rates_everywhere():
    net = network()
    mine = []

    def own(y, predictions):
        mine.append(predictions)
        return float(np.mean(predictions))

    history = net.fit(
        X, COUNTS, 60, metrics=["r2", "mae", "mse", own], train_metrics=True, validation_data=(X, COUNTS), seed=0,
        verbose=0,
    )  # fmt: skip
    rates = np.exp(net.outputs(X)[:, 0])
    wanted = {"r2": r2_score(COUNTS, rates), "mae": mean_absolute_error(COUNTS, rates), "own": rates.mean()}
    found = net.evaluate(X, COUNTS, ["r2", "mae", own])
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value)
        assert history[f"val_{name}"][-1] == pytest.approx(value)
        assert history[name][-1] == pytest.approx(value, rel=0.2)
    assert wanted["r2"] > 0.5
    assert all((predictions > 0).all() for predictions in mine)
    assert NetworkBank([net]).evaluate(X, COUNTS, ["r2"])["r2"][0] == pytest.approx(wanted["r2"])
    best = NetworkBank([network(), net]).ranking(X, COUNTS, "r2")
    assert best == [1, 0]


def test_metrics_in_chunks_and_banks_are_of_rates():
    def chunks():
        return ((X[i : i + 100], COUNTS[i : i + 100]) for i in range(0, 400, 100))

    one, other, in_bank = network(), network(), network()
    in_memory = one.fit(X, COUNTS, 3, metrics=["mae"], shuffle=False, batch_size=20, verbose=0)
    in_chunks = other.fit(chunks, epochs=3, metrics=["mae"], shuffle=False, batch_size=20, verbose=0)
    np.testing.assert_allclose(in_chunks["mae"], in_memory["mae"])
    bank = NetworkBank([in_bank])
    histories = bank.fit(X, COUNTS, 3, metrics=["mae"], shuffle=False, batch_size=20, verbose=0)
    assert histories[0]["mae"] == in_memory["mae"]


def test_monitors_go_by_them(tmp_path):
    net = network()
    callbacks = [EarlyStopping("val_mae", patience=2), ModelCheckpoint(tmp_path / "best", monitor="val_mae")]
    history = net.fit(X, COUNTS, 40, metrics="mae", validation_data=(X, COUNTS), callbacks=callbacks, verbose=0)
    best = fastnn.load(tmp_path / "best")
    assert np.mean(np.abs(best.predict(X)[:, 0] - COUNTS)) == pytest.approx(min(history["val_mae"]))


def test_weights_reach_metrics_of_predictions():
    net, weights = network(), RNG.uniform(size=400)
    found = net.evaluate(X, COUNTS, ["r2"], weights)["r2"]
    assert found == pytest.approx(r2_score(COUNTS, net.predict(X), sample_weight=weights))


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), SoftCrossEntropyLoss(), BCEWithLogitsLoss()], ids=repr)
def test_of_classes_predictions_are_the_outputs(loss):
    net = network(loss, outs=3)
    np.testing.assert_array_equal(net.predict(X), net.outputs(X))
    assert net.engine.form.predictor is None
    np.testing.assert_allclose(net.predict_proba(X), loss.probabilities(net.outputs(X)))
    np.testing.assert_array_equal(net.predict_classes(X), loss.classes(net.outputs(X)))


class Probit(BCEWithLogitsLoss):
    """Its predictions are probabilities; classes are still told from logits."""

    def predictions(self, outputs):
        return 1 / (1 + np.exp(-outputs))


def test_metrics_of_classes_ask_the_loss_about_outputs():
    net, plain, y = network(Probit()), network(BCEWithLogitsLoss()), (X[:, 0] > 0).astype(float)
    names = ["accuracy", "f1", "auc", "log_loss"]
    assert net.evaluate(X, y, names) == plain.evaluate(X, y, names)
    assert net.evaluate(X, y, "mse")["mse"] == pytest.approx(np.mean((net.predict_proba(X)[:, 1] - y) ** 2))
    np.testing.assert_array_equal(net.predict_classes(X), plain.predict_classes(X))
    bank = NetworkBank([net, network(Probit(), seed=7)])
    np.testing.assert_array_equal(bank.predict_classes(X), (bank.predict_proba(X)[:, 1] > 0.5).astype(int))


def test_a_loss_put_in_later_counts_at_once():
    net = network(MSELoss())
    before = net.predict(X[:1])
    net._loss_function = PoissonNLLLoss()
    np.testing.assert_allclose(net.predict(X[:1]), np.exp(before))
    np.testing.assert_allclose(net.predict(X[:5]), np.exp(net.outputs(X[:5])))
    net._loss_function = MSELoss()
    np.testing.assert_array_equal(net.predict(X[:1]), before)


def test_rates_too_large_are_infinite_and_metrics_nan():
    net = network()
    net.layers[-1].biases = [[1000.0]]
    with np.errstate(all="raise"):
        assert np.isinf(net.predict(X)).all()
        assert np.isfinite(net.outputs(X)).all()
        assert np.isnan(net.evaluate(X, COUNTS, ["r2"])["r2"])
        net.layers[-1].biases = [[-1000.0]]
        assert (net.predict(X) == 0).all()


class Narrow(MSELoss):
    """Predictions of the wrong shape."""

    def predictions(self, outputs):
        return outputs[:, 0]


class InPlace(MSELoss):
    """Predictions that write into what they are given."""

    def predictions(self, outputs):
        outputs += 1
        return outputs


def test_predictions_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"Narrow.predictions, given outputs of shape \(400, 1\), returned .*\(400,\)"):
        network(Narrow()).predict(X)
    with pytest.raises(ValueError, match=r"Narrow\.predictions"):
        network(Narrow()).fit(X, COUNTS, metrics=["r2"], verbose=0)


def test_predictions_cannot_change_what_training_keeps():
    net = network(InPlace())
    np.testing.assert_array_equal(net.predict(X), net.outputs(X) + 1)
    with pytest.raises(ValueError, match="read-only"):
        net.fit(X, COUNTS, metrics=["r2"], verbose=0)


def test_predictions_are_of_the_class():
    loss = MSELoss()
    with pytest.raises(TypeError, match="predictions is a method"):
        loss.predictions = np.exp
    assert {cls for cls in built_in(LossFunction) if cls.predictions is not LossFunction.predictions} >= {
        PoissonNLLLoss
    }


def test_the_article_side_stays_raw():
    net = network()
    raw = net.forward_pass(X.T)
    assert net.loss(raw, COUNTS[None].astype(float)) == pytest.approx(np.mean(np.exp(raw) - COUNTS * raw))
    step = explain(net, X[:1].T, [[3.0]])
    np.testing.assert_allclose(step.xs[-1], raw[:, :1])
    assert step.loss == pytest.approx(float(np.exp(raw[0, 0]) - 3 * raw[0, 0]))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_estimator_agrees():
    sklearn = pytest.importorskip("fastnn.sklearn")
    for loss in ("poisson", PoissonNLLLoss()):
        for networks in (1, 3):
            model = sklearn.MLPRegressor(loss, (8,), max_iter=30, random_state=0, n_networks=networks)
            model.fit(X, COUNTS)
            rates = [np.exp(net.outputs(X)[:, 0]) for net in model.networks_]
            np.testing.assert_allclose(model.predict(X), np.mean(rates, axis=0))
            assert model.score(X, COUNTS) == pytest.approx(r2_score(COUNTS, np.mean(rates, axis=0)))
