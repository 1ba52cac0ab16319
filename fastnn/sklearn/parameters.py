"""What each parameter of the estimators may be, in scikit-learn's own words."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..formulas.activations import ActivationFunction
from ..formulas.component import Component
from ..formulas.losses import LossFunction
from ..formulas.names import named, names_of
from ..formulas.optimizers import Optimizer
from ..formulas.schedules import Schedule


class Names(StrOptions):
    """Strings that name a class of fastnn's, also with other capitals, ``_`` and ``-``.

    Parameters
    ----------
    base : type
        `ActivationFunction`, `LossFunction` or `Optimizer`.
    *own : str
        Names that mean scikit-learn's here, to be written as there.
    """

    def __init__(self, base: type[Component], *own: str) -> None:
        super().__init__({*own, *names_of(base)})
        self.base, self.own = base, {name.replace("_", "") for name in own}

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether it is such a name."""
        if super().is_satisfied_by(val):
            return True
        if not isinstance(val, str) or "".join(filter(str.isalnum, val.lower())) in self.own:
            return False
        try:
            named(self.base, val, "name")
        except ValueError:
            return False
        return True


CONSTRAINTS: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [Names(ActivationFunction), ActivationFunction, list, tuple],
    "solver": [Names(Optimizer, "lbfgs", "adam", "sgd"), Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither"), Schedule],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "scoring": [StrOptions(set(get_scorer_names())), callable, None],
    "callbacks": [None, object],
    "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
    "n_jobs": [Integral, None],
    "n_networks": [Interval(Integral, 1, None, closed="left")],
}

OF_CLASSIFIER: dict[str, Any] = {
    **CONSTRAINTS,
    "loss": [Names(LossFunction, "log_loss"), LossFunction],
    "class_weight": [StrOptions({"balanced"}), dict, list, None],
}

OF_REGRESSOR: dict[str, Any] = {**CONSTRAINTS, "loss": [Names(LossFunction, "squared_error", "poisson"), LossFunction]}
