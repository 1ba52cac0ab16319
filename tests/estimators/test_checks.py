"""scikit-learn's own checks of estimators, all of them."""

import pytest

pytest.importorskip("sklearn.base")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")


@parametrize_with_checks([MLPClassifier(max_iter=30), MLPRegressor(max_iter=30)])
def test_all_checks_pass(estimator, check):
    check(estimator)
