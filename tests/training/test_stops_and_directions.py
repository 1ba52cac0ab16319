"""Who ends a fit, what is judged an improvement, and how metrics are named."""

import functools
import warnings

import numpy as np
import pytest
from networks import bits, classifier

from fastnn import (
    BCEWithLogitsLoss,
    Callback,
    Checkpoint,
    DivergedError,
    EarlyStopping,
    ExponentialDecay,
    Identity,
    LambdaCallback,
    Layer,
    ModelCheckpoint,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    ReduceLROnPlateau,
    StopTraining,
    Tanh,
)

HOOKS = {"on_train_begin": 0, "on_epoch_begin": 1, "on_epoch_end": 2, "on_train_end": 3}


def stopper(hook, text=""):
    def stop(*about):
        if not about or about[0] == 2:
            raise StopTraining(text)

    return LambdaCallback(**{hook: stop})


@pytest.mark.parametrize("text", ["", "enough"])
@pytest.mark.parametrize("hook", HOOKS)
def test_any_method_of_a_callback_ends_the_fit_with_its_history(hook, text):
    net, X, y = classifier()
    ended = []
    last = LambdaCallback(on_train_end=lambda: ended.append(True))
    history = net.fit(X, y, epochs=3, callbacks=[stopper(hook, text), last])
    assert history.epoch == list(range(1, 1 + HOOKS[hook]))
    assert history.stopped == (text or "a callback stopped it")
    assert ended == [True] if hook != "on_train_begin" else True
    net.fit(X, y)


def test_a_metric_ends_the_fit():
    def stop(y, outputs):
        calls.append(1)
        if len(calls) == 2:
            raise StopTraining("by metric")
        return 1.0

    calls = []
    net, X, y = classifier()
    history = net.fit(X, y, epochs=5, metrics=[stop])
    assert history.stopped == "by metric"
    assert history["loss"] == history["loss"][:2]
    assert np.isfinite(history["loss"]).all()


def test_a_generator_ends_the_fit_in_the_middle_of_an_epoch():
    net, X, y = classifier()
    epochs = iter(range(5))

    def chunks():
        last = next(epochs) == 1
        yield X[:40], y[:40]
        if last:
            raise StopTraining("no more data")
        yield X[40:], y[40:]

    history = net.fit(chunks, epochs=4)
    assert (history.epoch, history.stopped) == ([1], "no more data")


@pytest.mark.parametrize("hook", HOOKS)
def test_in_a_bank_that_network_only(hook):
    nets = [classifier()[0] for _ in range(3)]
    _, X, y = classifier()
    bank = NetworkBank(nets)
    histories = bank.fit(X, y, epochs=3, callbacks=lambda k: [stopper(hook)] if k == 1 else [])
    assert [len(history.epoch) for history in histories] == [3, HOOKS[hook], 3]
    assert [history.stopped for history in histories] == ["", "a callback stopped it", ""]
    assert len(bank.results) == 3


def test_a_fit_ended_as_an_epoch_begins_is_finished(tmp_path):
    histories = []
    for _ in range(2):
        net, X, y = classifier()
        callbacks = [stopper("on_epoch_begin"), Checkpoint(tmp_path / "run", every=5)]
        histories.append(net.fit(X, y, epochs=4, seed=0, callbacks=callbacks))
    assert histories[0].epoch == histories[1].epoch == [1]
    assert histories[0].stopped == histories[1].stopped == "a callback stopped it"


# --- NaN and limits ------------------------------------------------------------------------------


class Scores(Callback):
    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs["score"] = self.values[epoch - 1]


def test_nan_is_no_improvement_and_said_once(tmp_path):
    nan = float("nan")
    net, X, y = classifier()
    stop = EarlyStopping("score", patience=3, mode="min")
    keep = ModelCheckpoint(tmp_path / "{epoch}.safetensors", "score", mode="min")
    with pytest.warns(RuntimeWarning, match="score is NaN in epoch 1") as caught:
        history = net.fit(X, y, epochs=9, callbacks=[Scores([nan, 2.0, nan, nan, nan, 1.0]), stop, keep])
    assert len(caught) == 2  # one of each
    assert history.epoch == [1, 2, 3, 4, 5]
    assert "since epoch 2" in history.stopped
    assert [path.name for path in tmp_path.iterdir()] == ["2.safetensors"]


def test_nan_from_the_first_epoch_to_the_last():
    net, X, y = classifier()
    callbacks = [Scores([float("nan")] * 9), EarlyStopping("score", patience=3, mode="max")]
    with pytest.warns(RuntimeWarning, match="is NaN"):
        history = net.fit(X, y, epochs=9, callbacks=callbacks)
    assert history.stopped == "score was NaN in all epochs"
    assert len(history.epoch) == 3


@pytest.mark.parametrize("schedule", [False, True])
def test_a_limit_above_the_rate_does_not_raise_it(schedule):
    net, X, y = classifier(lr=0.01)
    if schedule:
        net.lr = ExponentialDecay(0.01, 1.0)
    reduce = ReduceLROnPlateau("score", patience=1, min_lr=0.5, mode="min")
    net.fit(X, y, epochs=6, callbacks=[Scores([1.0] * 6), reduce])
    assert net.engine.rate.lr == 0.01


def gain(y, outputs):
    return float(outputs.mean())


def test_an_unknown_direction_must_be_given(tmp_path):
    net, X, y = classifier()
    before = bits(net)
    for callback in (EarlyStopping("gain"), ReduceLROnPlateau("gain"), ModelCheckpoint(tmp_path / "a", "gain")):
        with pytest.raises(ValueError, match=r"monitor is 'gain'.*mode='min' or mode='max'.*greater_is_better"):
            net.fit(X, y, epochs=2, metrics=[gain], callbacks=[callback])
    assert bits(net) == before
    net.fit(X, y, metrics=[gain], callbacks=[ModelCheckpoint(tmp_path / "a", "gain", save_best_only=False)])
    net.fit(X, y, metrics=[gain], callbacks=[EarlyStopping("gain", mode="max")])
    bank = NetworkBank([classifier(lr=lr)[0] for lr in (0.001, 0.1)])
    bank.fit(X, y, epochs=3, metrics=[gain])
    with pytest.raises(ValueError, match="greater_is_better"):
        bank.ranking(monitor="gain")
    with pytest.raises(ValueError, match="expected 'auto', 'min' or 'max'"):
        bank.ranking(monitor="gain", mode="best")
    assert bank.ranking(monitor="gain", mode="min") == bank.ranking(monitor="gain", mode="max")[::-1]
    assert bank.best(monitor="gain", mode="max") is bank[bank.ranking(monitor="gain", mode="max")[0]]


@pytest.mark.parametrize("high", [True, False])
def test_a_function_may_say_its_direction(high):
    def own(y, outputs):
        return next(values)

    own.greater_is_better = high
    values = iter([1.0, 2.0, 3.0, 4.0])
    net, X, y = classifier()
    stop = EarlyStopping("own", patience=2)
    history = net.fit(X, y, epochs=4, metrics=[own], callbacks=[stop])
    assert len(history.epoch) == (4 if high else 3)


def test_a_bank_warns_of_nan_and_ranks_it_nowhere():
    def own(y, outputs):
        return float("nan") if outputs[0, 0] > 1e3 else 1.0

    own.greater_is_better = True
    nets = [classifier()[0] for _ in range(2)]
    nets[1].layers[-1].biases[...] = 1e4
    _, X, y = classifier()
    bank = NetworkBank(nets)
    bank.fit(X, y, metrics=[own])
    with pytest.warns(RuntimeWarning, match="own is NaN for networks 1"):
        assert bank.ranking(monitor="own") == [0]


# --- names and arguments -------------------------------------------------------------------------


def named(name, *arguments):
    text = f"lambda {', '.join(arguments)}: 0.0"
    function = eval(text)
    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["loss", "epoch", "lr", "val_loss", "val_x"])
def test_names_of_other_things(name):
    net, X, y = classifier()
    with pytest.raises(ValueError, match=f"of the name '{name}'.*__name__"):
        net.fit(X, y, metrics=[named(name, "y", "outputs")])


def test_two_of_one_name():
    net, X, y = classifier()
    for two in (
        ["accuracy", "accuracy"],
        ["mse", named("mse", "a", "b")],
        [named("f", "a", "b"), named("f", "a", "b")],
    ):
        with pytest.raises(ValueError, match="metrics holds two of the name"):
            net.fit(X, y, metrics=two)
    with pytest.raises(TypeError, match="metrics holds 5"):
        net.fit(X, y, metrics=[5])


def test_a_third_argument_only_where_it_is_required():
    def seen(y, outputs, third=None, *more, sample_weight=None):
        assert third is None
        assert more == ()
        return 1.0

    def loss_wanted(y, outputs, loss):
        return float(loss is net.loss_function)

    def returns_many(y, outputs):
        return outputs

    net, X, y = classifier()
    found = net.evaluate(X, y, [seen, loss_wanted, named("p", "*a"), functools.partial(gain)])
    assert (found["seen"], found["loss_wanted"]) == (1.0, 1.0)
    with pytest.raises(TypeError, match=r"requires \(a, b, c, d\)"):
        net.evaluate(X, y, [named("f", "a", "b", "c", "d")])
    with pytest.raises(TypeError, match="'returns_many' returned"):
        net.evaluate(X, y, [returns_many])


def test_functions_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    layers = [Layer(4, 1, Identity(), seed=0)]
    net = NeuralNetwork(layers, MSELoss(), 0.01)
    X = np.random.default_rng(0).normal(size=(50, 4))
    y, w = X[:, 0], np.random.default_rng(1).uniform(size=50)
    some = [metrics.mean_absolute_error, metrics.explained_variance_score]
    found = net.evaluate(X, y, some)
    p = net.predict(X)
    assert found["mean_absolute_error"] == metrics.mean_absolute_error(y, p)
    net.fit(X, y, epochs=2, metrics=some, callbacks=[EarlyStopping("explained_variance_score")])
    from fastnn.data.samples import Samples
    from fastnn.formulas.metrics import named_metrics

    measures = named_metrics([*some, "mae", "r2", "mse"])
    found = net.engine.scores(Samples.of_rows(net.engine.form, X, y), measures, w)
    p = net.predict(X)
    assert found["mean_absolute_error"] == metrics.mean_absolute_error(y, p, sample_weight=w)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p, sample_weight=w))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, p, sample_weight=w))  # fit takes another order each time
    assert found["loss"] == pytest.approx(np.mean(w * (p[:, 0] - y) ** 2))


# --- divergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metrics", [(), ["r2"], ["mse"], [gain]])
@pytest.mark.parametrize("validates", [False, True])
def test_divergence_leaves_good_weights_whatever_is_measured(metrics, validates):
    if metrics == ["r2"]:
        pytest.importorskip("sklearn")
    layers = [Layer(4, 8, Tanh(), seed=0), Layer(8, 1, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 10.0)
    X = np.random.default_rng(0).normal(size=(90, 4))
    y = 1e6 * X[:, 0]
    more = {"validation_data": (X, y)} if validates else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DivergedError, match=r"targets of about that size.*largest input is \d.*target \d.*e\+06"):
            net.fit(X, y, epochs=2000, batch_size=8, metrics=metrics, **more)
    assert np.isfinite(net.parameters).all()


# --- many labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("outs", [1, 2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_labels_are_measured_as_scikit_learn_does(outs, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    from fastnn.data.samples import Samples
    from fastnn.formulas.metrics import named_metrics

    rng = np.random.default_rng(outs)
    net = NeuralNetwork([Layer(5, outs, Identity(), seed=0)], BCEWithLogitsLoss(), 0.1)
    X, y = rng.normal(size=(80, 5)), rng.integers(0, 2, size=(80, outs))
    w = rng.uniform(size=80) if weighted else None
    measures = named_metrics(["accuracy", "f1", "log_loss", "auc"])
    found = net.engine.scores(Samples.of_rows(net.engine.form, X, y), measures, w)
    p = 1 / (1 + np.exp(-net.predict(X)))
    guess = (p > 0.5).astype(int)
    assert np.array_equal(net.predict_classes(X), guess if outs > 1 else guess[:, 0])
    assert np.array_equal(NetworkBank([net]).predict_classes(X), guess if outs > 1 else guess[:, 0])

    def mean(score, values):
        return np.mean([score(y[:, j], values[:, j], sample_weight=w) for j in range(outs)])

    assert found["accuracy"] == pytest.approx(mean(metrics.accuracy_score, guess))
    assert found["f1"] == pytest.approx(mean(metrics.f1_score, guess))
    assert found["log_loss"] == pytest.approx(mean(metrics.log_loss, p))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, p, average="macro", sample_weight=w))
    if not weighted:
        assert found["loss"] == pytest.approx(found["log_loss"])
        smooth = net.evaluate(X, 0.9 * y + 0.05, ["accuracy", "f1", "auc"])
        assert smooth["accuracy"] == found["accuracy"]
        assert smooth["auc"] == found["auc"]
    if outs > 1:
        with pytest.raises(ValueError, match="top_2 is of one class"):
            net.evaluate(X, y, ["top_2"])
