"""fit, predict, evaluate and their doors."""

import copy
import functools
import pickle

import numpy as np
import pytest
from networks import bits, classifier
from sklearn import metrics as peers

from fastnn import (
    Adam,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    EarlyStopping,
    Identity,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    ReLU,
    SoftCrossEntropyLoss,
    Tanh,
    reference,
)


def test_fit_is_train_on_rows():
    net, X, y = classifier()
    other = copy.deepcopy(net)
    history = net.fit(X, y, epochs=3, batch_size=16, seed=5)  # 90 samples: 6 batches of 15
    loss = other.train(X.T, y, epochs=3, batch_size=15, shuffle=True, seed=5)
    assert bits(net) == bits(other)
    assert history["loss"][-1] == loss
    assert history.epoch == [1, 2, 3]
    np.testing.assert_array_equal(net.predict(X), other.forward_pass(X.T).T)


def test_one_seed_gives_the_same_bits_and_another_does_not():
    nets = []
    for seed in (1, 1, 2):
        net, X, y = classifier(optimizer=Adam())
        net.fit(X, y, epochs=3, seed=seed)
        nets.append(bits(net))
    assert nets[0] == nets[1] != nets[2]


def test_targets_in_every_form_give_the_same_bits():
    net, X, y = classifier()
    results = []
    for target in (y, y.tolist(), y.astype(np.uint8), y[:, None], np.eye(3)[y], np.eye(3, dtype=int)[y]):
        twin = copy.deepcopy(net)
        twin.fit(X, target, epochs=2, seed=0)
        results.append(bits(twin))
    assert all(result == results[0] for result in results)


def test_values_of_one_output_may_be_flat():
    net, X, _ = classifier(1, MSELoss(), lr=0.01)
    twin = copy.deepcopy(net)
    net.fit(X, X[:, 0], epochs=2, seed=0)
    twin.fit(X, X[:, :1], epochs=2, seed=0)
    assert bits(net) == bits(twin)


def test_validation_split_may_hold_out_the_end():
    net, X, y = classifier()
    twin = copy.deepcopy(net)
    settings = {"validation_split": 0.2, "validation_shuffle": False, "metrics": ["accuracy"]}
    history = net.fit(X, y, epochs=2, seed=0, **settings)
    twin.fit(X[:72], y[:72], epochs=2, seed=0)
    assert bits(net) == bits(twin)
    expected = twin.evaluate(X[72:], y[72:], ["accuracy"])
    assert history["val_loss"][-1] == expected["loss"]
    assert history["val_accuracy"][-1] == expected["accuracy"]


def test_sample_weights():
    net, X, y = classifier()
    twin, thrice = copy.deepcopy(net), copy.deepcopy(net)
    net.fit(X, y, batch_size=90, shuffle=False, sample_weight=np.ones(90))
    twin.fit(X, y, batch_size=90, shuffle=False)
    np.testing.assert_allclose(net.layers[0].weights, twin.layers[0].weights, rtol=1e-12)
    # a weight of 2 is the sample twice: the sum of the losses is the same, and so is its gradient
    weights = np.ones(90)
    weights[:30] = 2.0
    again = np.concatenate([np.arange(90), np.arange(30)])
    twin = copy.deepcopy(thrice)
    thrice.fit(X, y, batch_size=90, shuffle=False, sample_weight=weights)
    twin.lr = twin.lr * 120 / 90
    twin.fit(X[again], y[again], batch_size=120, shuffle=False)
    np.testing.assert_allclose(thrice.layers[0].weights, twin.layers[0].weights, rtol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_weight_of_zero_is_no_sample(batch_size):
    net, X, y = classifier()
    twin = copy.deepcopy(net)
    weights = np.ones(90)
    weights[45:] = 0.0
    net.fit(X, y, batch_size=90, shuffle=False, sample_weight=weights)
    twin.lr = 0.05
    twin.fit(X[:45], y[:45], batch_size=45, shuffle=False)
    np.testing.assert_allclose(net.layers[0].weights, twin.layers[0].weights, rtol=1e-10)


def test_class_weights():
    net, X, y = classifier()
    twin, balanced = copy.deepcopy(net), copy.deepcopy(net)
    net.fit(X, y, class_weight={0: 2.0, 2: 0.5}, seed=0)
    twin.fit(X, y, sample_weight=np.array([2.0, 1.0, 0.5])[y], seed=0)
    assert bits(net) == bits(twin)
    other = copy.deepcopy(balanced)
    balanced.fit(X, y, class_weight="balanced", seed=0)
    other.fit(X, y, sample_weight=(90 / (3 * np.bincount(y)))[y], seed=0)
    assert bits(balanced) == bits(other)


def test_online_steps_take_weights_too():
    net, X, y = classifier()
    slow = reference.copy_of(net)
    weights = np.linspace(0, 2, 90)
    net.fit(X, y, batch_size=1, shuffle=False, sample_weight=weights)
    for x, t, w in zip(X, y, weights):
        slow.lr = 0.1 * w
        slow.train_column(x[:, None], t)
    np.testing.assert_allclose(net.layers[0].weights, slow._layers[0]._W, rtol=1e-10)


def test_partial_fit_goes_on():
    net, X, y = classifier(optimizer=Adam())
    twin = copy.deepcopy(net)
    net.fit(X, y, epochs=3, shuffle=False)
    losses = [twin.partial_fit(X, y) for _ in range(3)]
    assert bits(net) == bits(twin)
    assert losses[0] > losses[-1]


def test_probabilities_and_classes():
    net, X, _ = classifier()
    p = net.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(p.argmax(axis=1), net.predict_classes(X))
    soft, _, _ = classifier(loss=SoftCrossEntropyLoss())
    np.testing.assert_allclose(soft.predict_proba(X), p)
    binary, _, _ = classifier(1, BCEWithLogitsLoss())
    q = binary.predict_proba(X)
    assert q.shape == (90, 2)
    np.testing.assert_array_equal(binary.predict_classes(X), (q[:, 1] > 0.5).astype(int))
    with pytest.raises(TypeError, match="MSELoss gives no probabilities"):
        classifier(loss=MSELoss())[0].predict_proba(X)


def test_metrics_equal_scikit_learns():
    net, X, y = classifier()
    net.fit(X, y, epochs=3, seed=0)
    ours = net.evaluate(X, y, ["accuracy", "top_2", "f1", "log_loss", "auc", lambda y, out: out[0, 0]])
    classes, p = net.predict_classes(X), net.predict_proba(X)
    assert ours["accuracy"] == peers.accuracy_score(y, classes)
    assert ours["top_2"] == peers.top_k_accuracy_score(y, p, k=2)
    assert ours["f1"] == pytest.approx(peers.f1_score(y, classes, average="macro"))
    assert ours["log_loss"] == pytest.approx(ours["loss"])
    assert ours["auc"] == pytest.approx(peers.roc_auc_score(y, p, multi_class="ovr"))
    assert ours["<lambda>"] == net.predict(X)[0, 0]
    value = classifier(2, MSELoss())[0]
    t = X[:, :2]
    ours = value.evaluate(X, t, ["mse", "mae", "r2"])
    out = value.predict(X)
    assert ours["mse"] == pytest.approx(peers.mean_squared_error(t, out)) == pytest.approx(ours["loss"])
    assert ours["mae"] == pytest.approx(peers.mean_absolute_error(t, out))
    assert ours["r2"] == pytest.approx(peers.r2_score(t, out))


def test_training_metrics_come_from_the_outputs_during_the_epoch():
    net, X, y = classifier()
    before = net.evaluate(X, y, ["accuracy"])
    history = net.fit(X, y, batch_size=90, metrics=["accuracy"], seed=3)
    assert history["accuracy"][0] == before["accuracy"]
    assert history["loss"][0] == pytest.approx(before["loss"])


def test_history():
    net, X, y = classifier()
    history = net.fit(X, y, epochs=20, metrics="accuracy", validation_split=0.1, train_metrics=True)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.to_pandas().shape == (20, 4)
    assert repr(history).splitlines()[0].split() == ["epoch", *history]
    assert len(repr(history).splitlines()) == 12
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    assert len(history.plot("loss", "val_loss", ax=axes).lines) == 2


def test_with_validation_metrics_are_measured_there_alone_unless_asked_for():
    for more, on_training in (({}, True), ({"validation_split": 0.2}, False)):
        for train_metrics in (None, True, False):
            net, X, y = classifier()
            calls = []

            def own(y, outputs, calls=calls):
                calls.append(len(y))
                return 0.5

            fit = functools.partial(net.fit, X, y, epochs=3, metrics=["accuracy", own], seed=0, **more)
            if train_metrics is False and not more:
                with pytest.raises(ValueError, match="accuracy, own would be measured nowhere"):
                    fit(train_metrics=False)
                continue
            history = fit(train_metrics=train_metrics)
            trained = on_training if train_metrics is None else train_metrics
            names = ["loss", *(["accuracy", "own"] if trained else [])]
            names += ["val_loss", "val_accuracy", "val_own"] if more else []
            assert list(history) == names
            assert len(calls) == 3 * (trained + bool(more))


def test_metrics_of_training_change_no_bit_and_their_absence_is_explained():
    net, X, y = classifier()
    twin = copy.deepcopy(net)
    data = {"validation_data": (X, y), "metrics": "accuracy", "seed": 0, "epochs": 3}
    history, both = net.fit(X, y, **data), twin.fit(X, y, train_metrics=True, **data)
    assert bits(net) == bits(twin)
    assert history["val_accuracy"] == both["val_accuracy"]
    with pytest.raises(KeyError, match=r"has loss, val_loss, val_accuracy; .*train_metrics=True"):
        history["accuracy"]
    with pytest.raises(KeyError, match="'nothing' is not in the history, which has loss"):
        history["nothing"]
    assert history.get("accuracy") is None
    assert "accuracy" not in history
    with pytest.raises(ValueError, match=r"monitor is 'accuracy'; expected.*train_metrics=True"):
        net.fit(X, y, callbacks=EarlyStopping("accuracy"), **data)
    for wrong in (1, "no", 0.5):
        with pytest.raises(TypeError, match=r"train_metrics is .*expected True or False"):
            net.fit(X, y, train_metrics=wrong)


def test_pickle_and_copies_keep_training():
    net, X, y = classifier(optimizer=Adam())
    net.fit(X, y, seed=0)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert bits(twin) == bits(net)
        mine = copy.deepcopy(net)
        mine.fit(X, y, epochs=2, seed=1)
        twin.fit(X, y, epochs=2, seed=1)
        assert bits(twin) == bits(mine)


def test_a_damaged_pickle_is_refused():
    net, _, _ = classifier()
    state = dict(vars(net.layers[0]))
    for memory in (state["_memory"][:-1], None, state["_memory"].reshape(-1, 4)):
        with pytest.raises(ValueError, match="cannot be unpickled"):
            Layer.__new__(Layer).__setstate__({**state, "_memory": memory})


def test_weights_can_be_taken_and_given():
    net, X, _ = classifier()
    other = NeuralNetwork([Layer(4, 10, ReLU()), Layer(10, 3, Identity())], CrossEntropyLoss(), 0.1)
    other.set_weights(net.get_weights())
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    before = bits(other)
    with pytest.raises(ValueError, match="W has shape"):
        other.set_weights([net.get_weights()[0], (np.zeros((2, 2)), np.zeros((3, 1)))])
    with pytest.raises(ValueError, match="weights holds"):
        other.set_weights(net.get_weights()[:1])
    assert bits(other) == before


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_where_they_are_set(wrong):
    net = NeuralNetwork([Layer(2, 3, "relu", seed=0), Layer(3, 1, "identity", seed=1)], MSELoss(), 0.1)
    before = net.get_weights()
    weights = net.get_weights()
    weights[1][0][0, 1] = wrong
    with pytest.raises(ValueError, match="W holds NaN or infinity; expected finite numbers"):
        net.set_weights(weights)
    with pytest.raises(ValueError, match="b holds NaN or infinity"):
        net.layers[0].biases = np.full((3, 1), wrong)
    vector = net.parameters + 1
    vector[-1] = wrong
    with pytest.raises(ValueError, match="parameters holds NaN or infinity"):
        net.parameters = vector
    for arrays, old in zip(net.get_weights(), before):
        for array, expected in zip(arrays, old):
            np.testing.assert_array_equal(array, expected)


def test_layers_of_another_network_can_be_reused_and_frozen():
    net, X, y = classifier()
    net.fit(X, y, epochs=2)
    body = net.layers[0]
    body.trainable = False
    head = NeuralNetwork([body, Layer(10, 1, Tanh())], MSELoss(), 0.01)
    before = body.weights.copy()
    head.fit(X, X[:, 0], epochs=2)
    np.testing.assert_array_equal(body.weights, before)


BAD = [
    ({"X": np.ones(4)}, "X has shape"),
    ({"X": np.ones((4, 90))}, "X has 90 columns but the first layer takes 4"),
    ({"X": np.ones((0, 4)), "y": []}, "X has no rows"),
    ({"X": np.full((90, 4), np.nan)}, "X holds nan at row 0, column 0"),
    ({"X": [["a"] * 4] * 90}, "X has dtype"),
    ({"y": [0] * 89}, "y has 89 rows but X has 90"),
    ({"y": 3}, "y has no rows"),
    ({"y": [3] * 90}, "y holds class 3"),
    ({"y": [-1] * 90}, "y holds class -1"),
    ({"y": [0.5] * 90}, "y has dtype float64"),
    ({"y": np.full((90, 3), 0.3)}, "not one-hot"),
    ({"epochs": 0}, "epochs is 0"),
    ({"batch_size": 2.0}, "batch_size is 2.0"),
    ({"validation_split": 1.0}, "validation_split is 1.0"),
    ({"validation_split": 0.001}, "leaves one side empty"),
    ({"validation_data": (np.ones((3, 5)), [0, 0, 0])}, "X of validation_data has 5 columns"),
    ({"validation_data": (np.ones((3, 4)), [0, 0, 9])}, "y of validation_data holds class 9"),
    ({"sample_weight": [1.0]}, "sample_weight has shape"),
    ({"sample_weight": [-1.0] * 90}, "sample_weight holds negative"),
    ({"sample_weight": [np.nan] * 90}, "sample_weight holds"),
    ({"class_weight": "even"}, "class_weight is 'even'"),
    ({"class_weight": {0: -1}}, "class_weight of class 0"),
    ({"metrics": ["acuracy"]}, "metrics holds 'acuracy'"),
    ({"callbacks": ["x"]}, "callbacks holds 'x'"),
    ({"verbose": 3}, "verbose is 3"),
    ({"seed": -1}, "seed is -1"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD)
def test_bad_input_leaves_the_network_as_it_was(wrong, message):
    net, X, y = classifier()
    before = bits(net)
    with pytest.raises((ValueError, TypeError), match=message):
        net.fit(**{"X": X, "y": y, **wrong})
    assert bits(net) == before
    net.fit(X, y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_row_goes_the_short_way_to_the_same_bits(dtype):
    net, X, _ = classifier(dtype=dtype)
    X = X.astype(dtype)
    many = net.predict(X)
    for i in range(5):
        row = X[i : i + 1]
        one = net.predict(row)
        assert one.tobytes() == many[i : i + 1].tobytes()
        assert one.shape == (1, 3)
        assert one.flags.c_contiguous
        for other in (row.tolist(), row.astype("float64"), np.asfortranarray(np.repeat(row, 2, 0))[:1]):
            assert net.predict(other).tobytes() == one.tobytes()
        before = one.copy()
        net.predict(X[i + 1 : i + 2])
        assert one.tobytes() == before.tobytes()
    row = X[:1].copy()
    row[0, 2] = np.inf
    with pytest.raises(ValueError, match="X holds inf at row 0, column 2"):
        net.predict(row)
    row.flags.writeable = False
    with pytest.raises(ValueError, match="X holds inf at row 0, column 2"):
        net.predict(row)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sample_weight": np.zeros(90)}, ValueError, "sample_weight gives all 90 samples the weight 0"),
        ({"class_weight": [0.0, 0.0, 0.0]}, ValueError, "class_weight gives all 90 samples the weight 0"),
        ({"validation_split": 0.2, "validation_data": classifier()[1:]}, ValueError, "one of the two"),
        ({"callbacks": [EarlyStopping()] * 2}, ValueError, "one EarlyStopping twice"),
        ({"X": None}, TypeError, "X is None"),
    ],
)
def test_what_would_be_passed_over_is_refused(given, error, message):
    net, X, y = classifier()
    before = net.get_weights()
    with pytest.raises(error, match=message):
        net.fit(**{"X": X, "y": y, "verbose": 0, **given})
    assert all(np.array_equal(a, b) for p, q in zip(before, net.get_weights()) for a, b in zip(p, q))


def test_a_fit_that_changes_nothing_says_so():
    net, X, y = classifier()
    net.lr = 0.0
    with pytest.warns(RuntimeWarning, match="learning rate is 0"):
        net.fit(X, y, verbose=0)
    net.lr = 0.1
    for layer in net.layers:
        layer.trainable = False
    with pytest.warns(RuntimeWarning, match="no layer is trainable"):
        NetworkBank([net]).fit(X, y)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_metrics_of_classes_refuse_values(metric):
    net = NeuralNetwork([Layer(2, 1, Identity())], MSELoss(), 0.1)
    with pytest.raises(ValueError, match=r"y holds 0\.5, which is no class"):
        net.evaluate(np.zeros((2, 2)), np.array([0.5, 1.0]), [metric])
    assert 0 <= net.evaluate(np.zeros((2, 2)), np.array([0.0, 1.0]), [metric])[metric] <= 1
