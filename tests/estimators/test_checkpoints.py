"""Estimators whose fit was cut short, and goes on from a `Checkpoint`."""

import numpy as np
import pytest

from fastnn import Checkpoint, CSVLogger, ModelCheckpoint
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = X[:, 0] + 0.3 * RNG.normal(size=200)

SETTINGS = {
    "loss": {},
    "patience": {"tol": 0.05, "n_iter_no_change": 3},
    "score": {"early_stopping": True, "n_iter_no_change": 4, "tol": 1e-3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
}


@pytest.mark.parametrize("what", SETTINGS)
@pytest.mark.parametrize("cut", [1, 4, 9])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_fit_that_goes_on_is_as_if_it_had_not_stopped(tmp_path, kind, cut, what):
    y = Y > 0.5 if kind is MLPClassifier else Y

    def model(epochs, **more):
        return kind(hidden_layer_sizes=(8,), batch_size=20, random_state=0, max_iter=epochs, **SETTINGS[what], **more)

    whole = model(30).fit(X, y)
    model(cut, callbacks=Checkpoint(tmp_path / "run")).fit(X, y)
    parts = model(30, callbacks=Checkpoint(tmp_path / "run")).fit(X, y)
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))
    for name in ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"):
        assert getattr(parts, name) == getattr(whole, name), name
    for ours, theirs in zip(parts.coefs_, whole.coefs_):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", [Checkpoint, CSVLogger, ModelCheckpoint])
def test_ensembles_do_not_write_into_one_file(tmp_path, make):
    model = MLPRegressor(n_networks=2, max_iter=2, callbacks=make(tmp_path / "file"))
    with pytest.raises(ValueError, match=f"callbacks holds {make.__name__}, and all 2 networks .* n_networks=1"):
        model.fit(X, Y)
    assert list(tmp_path.iterdir()) == []
    model.set_params(n_networks=1).fit(X, Y)
