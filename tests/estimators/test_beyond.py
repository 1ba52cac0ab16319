"""What the estimators can do beyond scikit-learn's."""

import numpy as np
import pytest

pytest.importorskip("sklearn.base")

from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import scale

import fastnn
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (16,), "learning_rate_init": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), np.array(["bad", "good"])[y]


@pytest.fixture(scope="module")
def wave():
    X = np.random.default_rng(0).uniform(-2, 2, size=(400, 1))
    return X, np.sin(2 * X[:, 0])


def test_class_weights_move_the_decision(cancer):
    X, y = cancer
    few = np.r_[np.flatnonzero(y == "bad")[:8], np.flatnonzero(y == "good")]
    X, y = np.random.default_rng(0).normal(size=X.shape)[few] + 0.3 * X[few], y[few]
    settings = {**SMALL, "max_iter": 15}
    plain = MLPClassifier(**settings).fit(X, y)
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X, y)
    assert balanced_accuracy_score(y, balanced.predict(X)) > balanced_accuracy_score(y, plain.predict(X)) + 0.1
    by_hand = MLPClassifier(class_weight={"bad": len(y) / 16, "good": len(y) / 2 / (len(y) - 8)}, **settings).fit(X, y)
    assert np.allclose(by_hand.coefs_[0], balanced.coefs_[0])


def test_class_weights_are_sample_weights(cancer):
    X, y = cancer
    by_class = MLPClassifier(class_weight={"bad": 3.0}, **SMALL).fit(X, y)
    by_sample = MLPClassifier(**SMALL).fit(X, y, sample_weight=np.where(y == "bad", 3.0, 1.0))
    assert by_class.loss_curve_ == by_sample.loss_curve_


def test_layers_are_what_was_asked_for(cancer):
    model = MLPClassifier((8, 6), ["tanh", fastnn.LeakyReLU(0.2)], dropout=[0.1, 0.0], max_iter=3).fit(*cancer)
    assert repr(model.network_.layers) == (
        "[Layer(30, 8, Tanh()), Dropout(rate=0.1), Layer(8, 6, LeakyReLU(leaky_param=0.2)), Layer(6, 1, Identity())]"
    )
    assert model.n_layers_ == 4
    assert len(model.coefs_) == 3
    assert not np.array_equal(model.loss_curve_, MLPClassifier((8, 6), "tanh", max_iter=3).fit(*cancer).loss_curve_)


def test_optimisers_schedules_and_losses(wave):
    X, y = wave
    rate = fastnn.CosineDecay(0.03, steps=200)
    model = MLPRegressor(
        fastnn.HuberLoss(0.5), solver=fastnn.AdamW(weight_decay=1e-4), learning_rate_init=rate, max_iter=100, tol=0,
        n_iter_no_change=100, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.score(X, y) > 0.98
    assert model.network_.lr is not rate
    assert isinstance(model.network_.optimizer, fastnn.AdamW)
    assert isinstance(model.network_.loss_function, fastnn.HuberLoss)


def test_losses_of_classes(cancer):
    X, y = cancer
    model = MLPClassifier(loss=fastnn.CrossEntropyLoss(label_smoothing=0.2), max_iter=50, random_state=0).fit(X, y)
    assert model.n_outputs_ == 2
    assert model.score(X, y) > 0.95
    p = model.predict_proba(X)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-6)
    assert np.median(p.max(axis=1)) < MLPClassifier(max_iter=50, random_state=0).fit(X, y).predict_proba(X).max()


def test_given_validation_data_are_scored(cancer):
    X, y = cancer
    settings = {**SMALL, "max_iter": 40, "n_iter_no_change": 5}
    watched = MLPClassifier(**settings).fit(X[:400], y[:400], validation_data=(X[400:], y[400:]))
    assert len(watched.validation_scores_) == watched.n_iter_ == 40
    assert watched.validation_scores_[-1] == watched.score(X[400:], y[400:])
    stopped = MLPClassifier(early_stopping=True, **settings).fit(X[:400], y[:400], validation_data=(X[400:], y[400:]))
    assert stopped.n_iter_ < 40
    assert stopped.best_validation_score_ == stopped.score(X[400:], y[400:])


def test_groups_are_held_out_together(cancer, monkeypatch):
    X, y = cancer
    groups = np.arange(len(X)) // 10
    X = np.c_[X, groups]
    held = []
    monkeypatch.setattr(MLPClassifier, "_score_of", lambda self, net, held_out: held.append(held_out.X[:, -1]) or 1.0)
    MLPClassifier(early_stopping=True, **SMALL).fit(X, y, validation_groups=groups)
    apart = set(held[0])
    assert sum(np.isin(groups, list(apart))) == len(held[0])
    with pytest.raises(ValueError, match="expected early_stopping=True"):
        MLPClassifier().fit(X, y, validation_groups=groups)


def test_scoring_judges_held_out_samples(cancer):
    X, y = cancer
    model = MLPClassifier(early_stopping=True, scoring="neg_log_loss", **SMALL).fit(X, y)
    assert max(model.validation_scores_) == model.best_validation_score_ < 0

    def size(estimator, X, y):
        return -float(np.abs(estimator.coefs_[0]).sum()) + 0 * estimator.score(X, y)

    model = MLPClassifier(early_stopping=True, scoring=size, **SMALL).fit(X, y)
    assert model.best_validation_score_ == pytest.approx(size(model, X, y))


def test_callbacks_see_the_fit(cancer):
    seen = []
    watch = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    model = MLPClassifier(callbacks=[watch], max_iter=4, early_stopping=True, random_state=0).fit(*cancer)
    assert [logs["loss"] for logs in seen] == model.loss_curve_
    assert all("val_loss" in logs for logs in seen)
    stop = fastnn.TimeLimit(0)
    assert MLPClassifier(callbacks=stop, max_iter=100).fit(*cancer).n_iter_ == 1


def test_dtype_and_threads(cancer):
    X, y = cancer
    before = fastnn.get_num_threads()
    one, two = (MLPClassifier(n_jobs=n, dtype="float32", **SMALL).fit(X, y) for n in (1, 2))
    assert one.coefs_[0].dtype == np.float32
    assert np.array_equal(one.coefs_[0], two.coefs_[0])
    assert fastnn.get_num_threads() == before


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ensembles_of_regressors(wave, solver):
    X, y = wave
    model = MLPRegressor(n_networks=4, solver=solver, **SMALL).fit(X, y)
    assert len(model.networks_) == 4
    assert model.network_ is model.networks_[0]
    each = np.array([net.predict([[0.5], [9.0]])[:, 0] for net in model.networks_])
    mean, std = model.predict([[0.5], [9.0]], return_std=True)
    assert np.allclose(mean, each.mean(axis=0))
    assert np.allclose(std, each.std(axis=0))
    assert std[1] > std[0] > 0
    with pytest.raises(ValueError, match="n_networks is 1"):
        MLPRegressor(**SMALL).fit(X, y).predict(X, return_std=True)
    with pytest.raises(TypeError, match="return_std is 'no'; expected True or False"):
        model.predict([[0.5]], return_std="no")


def test_ensembles_of_classifiers():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier(n_networks=3, early_stopping=True, **SMALL).fit(X, y)
    each = np.array([net.predict_proba(X) for net in model.networks_])
    assert np.allclose(model.predict_proba(X), each.mean(axis=0))
    assert np.array_equal(model.predict(X), each.mean(axis=0).argmax(axis=1))
    alone = MLPClassifier(early_stopping=True, **SMALL)
    alone.fit(X, y)
    assert len(alone.loss_curve_) == alone.n_iter_


def test_counts_are_predicted_on_their_scale():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(500, 2))
    y = rng.poisson(np.exp(1 + X[:, 0]))
    model = MLPRegressor("poisson", **SMALL).fit(X, y)
    assert model.out_activation_ == "exp"
    assert model.predict(X).mean() == pytest.approx(y.mean(), rel=0.1)
    assert np.allclose(np.log(model.predict(X)), model.network_.outputs(X)[:, 0])
    assert np.allclose(model.predict(X), model.network_.predict(X)[:, 0])
    with pytest.raises(ValueError, match="y"):
        MLPRegressor("poisson").fit(X, y - 5.0)


def test_the_network_goes_on_with_the_penalty_that_it_had(wave):
    X, y = wave
    model = MLPRegressor(alpha=0.5, batch_size=50, **SMALL).fit(X, y)
    assert {layer.l2 for layer in model.network_.layers} == {0.01}


def test_validation_data_may_lack_classes_but_not_have_others(cancer):
    X, y = cancer
    good = y == "good"
    model = MLPClassifier(warm_start=True, max_iter=3, random_state=0)
    model.fit(X, y, validation_data=(X[good], y[good])).fit(X, y, validation_data=(X[good], y[good]))
    assert len(model.validation_scores_) == 6
    with pytest.raises(ValueError, match="has classes not in"):
        model.fit(X, y, validation_data=(X[good], np.full(good.sum(), "fair")))


@pytest.mark.usefixtures("always_teams")
def test_threads_share_weighted_batches_without_a_trace(cancer):
    X, y = cancer
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    one, two = (
        MLPClassifier(n_jobs=n, alpha=1.0, max_iter=5, random_state=0).fit(X, y, sample_weight=weight) for n in (1, 2)
    )
    assert one.loss_curve_ == two.loss_curve_
    assert all(np.array_equal(a, b) for a, b in zip(one.coefs_, two.coefs_))


def test_samples_that_weigh_nothing_are_as_good_as_not_there(wave):
    X, y = wave
    weight = (np.arange(len(y)) < 300).astype(float)  # the fourth of the batches weighs nothing
    settings = {"batch_size": 100, "alpha": 0.0, "shuffle": False, "max_iter": 20, "random_state": 0}
    model = MLPRegressor(solver="sgd", momentum=0, **settings).fit(X, y, sample_weight=weight)
    other = MLPRegressor(solver="sgd", momentum=0, **settings).fit(X[:300], y[:300])
    assert np.allclose(model.coefs_[0], other.coefs_[0])


def test_sparse_rows_larger_than_a_chunk_are_made_dense_chunk_by_chunk(cancer, monkeypatch):
    X, y = cancer
    settings = {"shuffle": False, "batch_size": 50, "max_iter": 5, "random_state": 0, "alpha": 1.0}
    dense = MLPClassifier(**settings).fit(X, y)
    monkeypatch.setattr("fastnn.data.sources.CHUNK_BYTES", 100 * 30 * 8)
    chunked = MLPClassifier(**settings).fit(sparse.csr_matrix(X), y)
    assert np.allclose(chunked.loss_curve_, dense.loss_curve_)
    assert np.allclose(chunked.coefs_[0], dense.coefs_[0])


def test_an_interrupt_keeps_what_was_learnt(cancer):
    def interrupt(epoch, logs):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier(callbacks=fastnn.LambdaCallback(on_epoch_end=interrupt)).fit(*cancer)
    assert model.n_iter_ == 3
