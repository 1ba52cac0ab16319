"""Optuna: a callback that prunes, alone, in estimators, in banks."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import NetworkBank, OptunaPruning

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
X = np.random.default_rng(0).normal(size=(200, 3))
Y = X[:, 0] - X[:, 1]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Above(optuna.pruners.BasePruner):
    """Prunes from an epoch on."""

    def __init__(self, epoch):
        self.epoch = epoch

    def prune(self, study, trial):
        return trial.last_step >= self.epoch


def study(direction="minimize", epoch=3):
    return optuna.create_study(direction=direction, pruner=Above(epoch), sampler=optuna.samplers.RandomSampler(0))


def test_a_pruned_fit_raises_and_leaves_a_network(tmp_path):
    nets, seen = [], []

    class Last(fastnn.Callback):
        def on_train_end(self):
            seen.append(True)

    def objective(trial):
        nets.append(fastnn.mlp([3, 4, 1], seed=trial.number))
        nets[-1].fit(X, Y, epochs=9, validation_split=0.2, callbacks=[OptunaPruning(trial), Last()], verbose=0)

    asked = study()
    asked.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in asked.trials] == ["PRUNED", "PRUNED"]
    assert [list(trial.intermediate_values) for trial in asked.trials] == [[1, 2, 3]] * 2
    assert seen == [True, True]
    assert nets[0].engine.state.epochs[0] == 3
    history = nets[0].fit(X, Y, epochs=5, verbose=0)
    assert history["loss"][-1] < history["loss"][0]


def test_what_is_reported_and_with_which_sign():
    for direction, monitor, sign in [
        ("minimize", None, 1), ("maximize", None, -1), ("minimize", "val_r2", -1), ("maximize", "val_r2", 1),
    ]:  # fmt: skip
        trial = study(direction, 99).ask()
        net = fastnn.mlp([3, 4, 1], seed=0)
        history = net.fit(
            X, Y, epochs=2, validation_split=0.2, metrics="r2", callbacks=OptunaPruning(trial, monitor), verbose=0
        )
        values = trial.study.trials[0].intermediate_values
        assert list(values.values()) == [sign * value for value in history[monitor or "val_loss"]]
    with pytest.raises(ValueError, match="monitor is 'accuracy'; expected one of loss"):
        net.fit(X, Y, callbacks=OptunaPruning(trial, "accuracy"), verbose=0)
    net.fit(X, Y, callbacks=OptunaPruning(optuna.trial.FixedTrial({})), verbose=0)
    for wrong in (None, 3, optuna.trial.Trial, study()):
        with pytest.raises(TypeError, match=r"trial is .*; expected the trial"):
            OptunaPruning(wrong)


def test_estimators_in_an_objective():
    sklearn = pytest.importorskip("fastnn.sklearn")
    model_selection = pytest.importorskip("sklearn.model_selection")

    def objective(trial):
        rate = trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)
        model = sklearn.MLPRegressor(
            hidden_layer_sizes=4, learning_rate_init=rate, max_iter=5, random_state=0, callbacks=[OptunaPruning(trial)]
        )
        try:
            model.fit(X, Y)
        except optuna.TrialPruned:
            assert model.predict(X).shape == (200,)
            raise
        return model.score(X, Y)

    asked = study("maximize", 3)
    asked.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in asked.trials] == ["PRUNED", "PRUNED"]
    asked = study("maximize", 99)
    with pytest.warns(Warning, match="converged"):
        asked.optimize(objective, n_trials=2)
    assert asked.best_value > -10

    trial = study("maximize", 2).ask()
    model = sklearn.MLPRegressor(hidden_layer_sizes=4, max_iter=5, random_state=0, callbacks=[OptunaPruning(trial)])
    with pytest.raises(optuna.TrialPruned, match="pruned after epoch 2"):  # clones tell the same trial
        model_selection.cross_val_score(model, X, Y, error_score="raise")
    assert list(trial.study.trials[0].intermediate_values) == [1, 2]


def test_a_bank_and_processes():
    bank = NetworkBank([fastnn.mlp([3, 4, 1], seed=k) for k in range(2)])
    asked = study(epoch=99)
    trials = [asked.ask(), asked.ask()]
    with pytest.raises(ValueError, match="callbacks holds OptunaPruning, and all networks"):
        bank.fit(X, Y, callbacks=OptunaPruning(trials[0]), verbose=0)
    bank.fit(X, Y, epochs=2, callbacks=lambda k: [OptunaPruning(trials[k])], verbose=0)
    assert [list(trial.intermediate_values) for trial in asked.trials] == [[1, 2], [1, 2]]
    assert copy.deepcopy(OptunaPruning(trials[0], "loss")).trial is trials[0]
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("loky", n_jobs=2), pytest.raises(TypeError, match="OptunaPruning, which cannot go"):
        bank.fit(X, Y, callbacks=lambda k: [OptunaPruning(trials[k])], verbose=0)
