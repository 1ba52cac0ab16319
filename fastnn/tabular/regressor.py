"""The regressor: values, quantiles, or means with standard deviations."""

from __future__ import annotations

import warnings
from statistics import NormalDist
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..checks import (
    Array,
    at_least_one,
    between_zero_and_one,
    finite_number,
    flag,
    fraction,
    levels,
    one_of,
    optional,
    positive_number,
)
from ..data.columns import real_array
from ..formulas.activations import ActivationFunction, Mish
from ..formulas.losses import GaussianNLLLoss, LossFunction, MSELoss, PinballLoss
from ..training.callbacks import Trainee
from .answer import Answer
from .base import BaseTabular, Rows, Targets, targets_of
from .conformal import conformal_level, quantiles_of, rows_needed, too_few
from .learnt import Learnt
from .table import index_of, rows_said

LEAST_VARIANCE = 1e-4  # of standardised targets


class TabularRegressor(RegressorMixin, BaseTabular):
    """A regressor for tables: a data frame goes in as it is.

    What becomes of its columns says `Preprocessor`; of the networks `fastnn.tabular.recipe`. Targets are standardised
    for them.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default (256, 256, 256)
        How many units each hidden layer has.
    quantiles : tuple of float, optional
        Which quantiles of the target to learn, as (0.05, 0.5, 0.95), by their pinball loss, instead of its mean. Each
        is then shifted by that quantile of the held-out rows' residuals, and they are put in order.
    distribution : "normal", optional
        Whether to learn mean and standard deviation, by their likelihood, instead of the mean.
    epochs, batch_size, learning_rate, validation_fraction, n_networks
        As for `TabularClassifier`; the highest rate is 0.07 by default, the best epoch that of the smallest squared
        error (or loss of quantiles or distribution), and predictions are the means of the networks'.
    time_limit, max_one_hot, random_state, n_jobs, verbose, callbacks
        As for `TabularClassifier`.

    Attributes
    ----------
    n_outputs_ : int
        How many targets there are.
    target_mean_, target_scale_ : ndarray (n_outputs,)
        Networks learn targets minus the mean, over the scale.
    quantiles_, distribution_ : ndarray and str, or None
        What was learnt, whatever `quantiles` and `distribution` are set to afterwards.
    network_, networks_, preprocessor_, feature_importances_, n_features_in_, feature_names_in_, n_iter_, best_epoch_
        As for `TabularClassifier`, and so are `history_`, `validation_errors_`, `validation_rows_`, `interrupted_`,
        `target_name_`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.tabular import TabularRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = 100 + 20 * X[:, 0] * X[:, 1]
    >>> model = TabularRegressor(epochs=30, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True

    Nine of ten new values lie in such an interval:

    >>> model = TabularRegressor(quantiles=(0.05, 0.5, 0.95), epochs=30, random_state=0).fit(X, y)
    >>> low, high = model.predict_interval(X).T
    >>> bool(np.mean((low <= y) & (y <= high)) > 0.8)
    True
    """

    _rate = 0.07

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256, 256),
        *,
        quantiles: Any = None,
        distribution: str | None = None,
        epochs: int = 256,
        batch_size: int = 256,
        learning_rate: float | None = None,
        validation_fraction: float = 0.2,
        n_networks: int = 1,
        time_limit: float | None = None,
        max_one_hot: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        callbacks: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            validation_fraction=validation_fraction, n_networks=n_networks, time_limit=time_limit,
            max_one_hot=max_one_hot, random_state=random_state, n_jobs=n_jobs, verbose=verbose, callbacks=callbacks,
        )  # fmt: skip
        self.quantiles = quantiles
        self.distribution = distribution

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularRegressor:
        """Train on a table.

        Parameters
        ----------
        X : data frame or array_like (n_samples, n_features)
            Numbers, bools, texts, categories, dates, with missing values: of pandas, polars, pyarrow or NumPy.
        y : array_like (n_samples,) or (n_samples, n_outputs)
            The targets; one for `quantiles` and `distribution`.
        sample_weight : array_like (n_samples,), optional
            Weights of the losses; rows of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If something does not fit: columns of the same name, infinities, a missing target. The estimator is as it
            was before, then.
        """
        return self._fit(X, y, sample_weight)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_kind(self.quantiles, self.distribution)

    def _read_targets(self, y: Any, count: int) -> Targets:
        array = real_array(targets_of(y, count), "y").astype(np.float64)
        if array.ndim == 1:
            array = array.reshape(-1, 1)
        if array.ndim != 2 or array.shape[1] == 0:
            raise ValueError(f"y has shape {array.shape}; expected (n_samples,) or (n_samples, n_outputs)")
        if not np.isfinite(array).all():
            row = int(np.argmax(~np.isfinite(array).all(axis=1)))
            raise ValueError(f"y contains infinity in {rows_said([row], index_of(y))}; expected finite numbers")
        if array.shape[1] > 1 and (self.quantiles is not None or self.distribution is not None):
            raise ValueError(f"y has {array.shape[1]} columns; expected one target for quantiles or a distribution")
        return Targets(array)

    def _start(self, y: Targets, rows: Array) -> dict[str, Any]:
        values = y.values[rows]
        scale = np.maximum(np.abs(values).max(axis=0), np.finfo(float).tiny)  # so that no square is too large
        deviation = (values / scale).std(axis=0) * scale
        mean = (values / scale).mean(axis=0) * scale
        varies = deviation > 1e-12 * scale
        return {
            "mean": mean.tolist(),
            "deviation": np.where(varies, deviation, 1.0).tolist(),
            "quantiles": None if self.quantiles is None else levels(self.quantiles, "quantiles").tolist(),
            "distribution": self.distribution,
            "validation_fraction": float(self.validation_fraction),
        }

    def _network_targets(self, y: Array, more: dict[str, Any]) -> Array:
        standard = ((y - more["mean"]) / more["deviation"]).astype(np.float32)
        return np.repeat(standard, self._outs(more) // standard.shape[1], axis=1)

    def _loss(self) -> LossFunction:
        if self.quantiles is not None:
            return PinballLoss(self.quantiles)
        return MSELoss() if self.distribution is None else GaussianNLLLoss(LEAST_VARIANCE)

    def _activation(self) -> ActivationFunction:
        return Mish()

    def _outs(self, more: dict[str, Any]) -> int:
        if more["quantiles"] is not None:
            return len(more["quantiles"])
        return len(more["mean"]) * (1 if more["distribution"] is None else 2)

    def _error(self, net: Trainee, held_out: Rows) -> float:
        outputs = net.engine.outputs(held_out.X, unchecked=True)
        weight = None if held_out.weight is None else held_out.weight / held_out.weight.mean()
        return net.engine.mean_loss(outputs, held_out.targets, False, weight)

    def _finish(self, learnt: Learnt, held_out: Rows, y: Array, count: float) -> None:
        """Residuals of the held-out rows, of which intervals are made: their quantiles are all that is kept."""
        more, outputs, weight = learnt.more, learnt.outputs(held_out.X), held_out.weight
        predicted = self._of_outputs(outputs, more)
        more["held_out"] = count
        if more["quantiles"] is not None:
            if said := too_few(max(more["quantiles"], key=rows_needed), count, more["validation_fraction"]):
                warnings.warn(f"quantiles are less sure than they say: {said}", UserWarning, stacklevel=4)
            wanted = [conformal_level(level, count) for level in more["quantiles"]]
            more["shifts"] = [
                float(quantiles_of(y[:, 0] - predicted[:, k], level, weight)) for k, level in enumerate(wanted)
            ]
        else:
            residuals = np.abs(y - predicted)
            if more["distribution"] is not None:
                residuals = residuals / self._deviations(outputs, more)
            spaced = np.linspace(0, 1, KEPT)
            more["residuals"] = [quantiles_of(some, spaced, weight).tolist() for some in residuals.T]

    def _show(self, learnt: Learnt) -> None:
        more = learnt.more
        outs = learnt.networks[0].engine.outs
        for name in ("mean", "deviation"):
            if not isinstance(more.get(name), list) or len(more[name]) == 0:
                raise ValueError(f"its {name} is no list of numbers")
            for number in more[name]:
                finite_number(number, name) if name == "mean" else positive_number(number, name)
        if not {"quantiles", "distribution", "validation_fraction"} <= set(more):
            raise ValueError("it does not say of which quantiles or distribution it is")
        check_kind(more["quantiles"], more["distribution"])
        fraction(more["validation_fraction"], "validation_fraction")
        if len(more["mean"]) != len(more["deviation"]) or self._outs(more) != outs:
            raise ValueError("its means and standard deviations are not one for each target")
        for name, rows in (("shifts", [more.get("shifts", [])]), ("residuals", more.get("residuals", []))):
            if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
                raise ValueError(f"its {name} are no lists of numbers")
            for row in rows:
                for number in row:
                    finite_number(number, name)
        if "shifts" in more and (more["quantiles"] is None or len(more["shifts"]) != outs):
            raise ValueError("its shifts are not one for each quantile")
        if "residuals" in more:
            if [len(row) for row in more["residuals"]] != [KEPT] * len(more["mean"]):
                raise ValueError("its residuals are not so many for each target")
            at_least_one(more.get("held_out"), "held_out")
        self.n_outputs_ = len(more["mean"])
        self.target_mean_, self.target_scale_ = np.array(more["mean"]), np.array(more["deviation"])
        self.quantiles_ = None if more["quantiles"] is None else np.array(more["quantiles"])
        self.distribution_ = more["distribution"]

    # --- predictions -----------------------------------------------------------------------------

    def _of_outputs(self, outputs: Array, more: dict[str, Any]) -> Array:
        """The mean of the networks' outputs (networks, n, outs) as predictions: means, or quantiles, as they come."""
        mean = outputs[0].astype(np.float64) if len(outputs) == 1 else outputs.mean(axis=0, dtype=np.float64)
        if more["distribution"] is not None:
            mean = mean[:, : mean.shape[1] // 2]
        return self._on_scale(mean, more)

    def _on_scale(self, values: Array, more: dict[str, Any]) -> Array:
        """Standardised values (n, outs) on the scale of the targets, in NumPy alone, which exports read."""
        return values * np.reshape(more["deviation"], (1, -1)) + np.reshape(more["mean"], (1, -1))

    def _shifted(self, values: Array, more: dict[str, Any]) -> Array:
        """Quantiles (n, outs) that cover as many targets as they should, not in order yet."""
        return values + np.reshape(more.get("shifts", 0.0), (1, -1))

    def _nearest(self, quantiles: Any) -> int:
        """The number of the quantile that is nearest to the median."""
        return int(np.argmin(np.abs(np.array(quantiles) - 0.5)))

    def _answer(self, learnt: Learnt) -> Answer:
        more, quantiles = learnt.more, learnt.more["quantiles"]
        outs = self._outs(more) // (1 if more["distribution"] is None else 2)

        def formula(*outputs: Array) -> Array:
            total: Array = sum(outputs)  # type: ignore[assignment]
            values = self._on_scale(total / len(outputs), more)
            return values if quantiles is None else self._shifted(values, more)

        return Answer(formula, outs, outs, rank=None if quantiles is None else self._nearest(quantiles))

    def _deviations(self, outputs: Array, more: dict[str, Any]) -> Array:
        """The standard deviation (n, 1) of the mixture of what the networks say."""
        means, logs = np.split(outputs.astype(np.float64), 2, axis=2)
        with np.errstate(over="ignore", under="ignore"):
            variances = np.minimum(np.exp(logs), 1e30) + LEAST_VARIANCE
        variance = variances.mean(axis=0) + means.var(axis=0)
        return np.asarray(np.sqrt(variance) * more["deviation"])

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of the target, float64 (n_samples,) or (n_samples, n_outputs); with `quantiles` the median.

        With `quantiles` that do not include it, the one that is nearest to it.

        Parameters
        ----------
        X : data frame or array_like
        return_std : bool, default False
            Whether to return the standard deviations, too: for ``distribution="normal"``.
        """
        check_is_fitted(self)
        if flag(return_std, "return_std") and self.distribution_ is None:
            raise ValueError(
                "return_std is True, but this regressor has no distribution; expected distribution='normal'"
            )
        if self.quantiles_ is not None:
            return self.predict_quantiles(X)[:, self._nearest(self.quantiles_)]
        outputs = self._outputs(X)
        values = self._of_outputs(outputs, self._learnt.more)
        values = values[:, 0] if self.n_outputs_ == 1 else values
        return (values, self._deviations(outputs, self._learnt.more)[:, 0]) if return_std else values

    def predict_quantiles(self, X: Any) -> Array:
        """The quantiles of the target, float64 (n_samples, n_quantiles), in ascending order in each row.

        Raises
        ------
        ValueError
            If the regressor was made without `quantiles`.
        """
        check_is_fitted(self)
        if self.quantiles_ is None:
            raise ValueError("this regressor has no quantiles; expected quantiles=(0.05, 0.5, 0.95) or others")
        outputs = self._outputs(X)
        more = self._learnt.more
        return np.sort(self._shifted(self._of_outputs(outputs, more), more), axis=1)

    def predict_interval(self, X: Any, coverage: float | None = None) -> Array:
        """Intervals in which new targets lie with a probability, float64 (n_samples, 2): low and high.

        With `quantiles` they go from the lowest to the highest, whose difference is their coverage. Otherwise they are
        as wide, on both sides of the mean, as the residuals of the held-out rows say (conformal prediction): all of
        the same width, or with ``distribution="normal"`` in proportion to the standard deviation.

        Parameters
        ----------
        X : data frame or array_like
        coverage : float, optional
            The probability, between 0 and 1; by default 0.9. Not for `quantiles`.

        Raises
        ------
        ValueError
            If coverage does not fit, there are several targets, or no row was held out.

        References
        ----------
        Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive inference for regression" (2018).
        """
        check_is_fitted(self)
        if self.quantiles_ is not None:
            if self.quantiles_.size < 2:
                raise ValueError("this regressor has one quantile only; expected two at least for an interval")
            nominal = float(np.ptp(self.quantiles_))
            if coverage is not None and abs(coverage - nominal) > 1e-9:
                raise ValueError(f"coverage is {coverage}, but the quantiles are {nominal:g} apart; expected that")
            return self.predict_quantiles(X)[:, [0, -1]]
        coverage = between_zero_and_one(0.9 if coverage is None else coverage, "coverage")
        outputs = self._outputs(X)
        more = self._learnt.more
        if self.n_outputs_ > 1:
            raise ValueError(f"this regressor has {self.n_outputs_} targets; expected one for intervals")
        values, width = self._of_outputs(outputs, more)[:, 0], np.ones(1)
        if self.distribution_ is not None:
            width = self._deviations(outputs, more)[:, 0]
        if "residuals" in more:
            if said := too_few(coverage, more["held_out"], more["validation_fraction"]) if coverage > 0.5 else "":
                warnings.warn(f"intervals cover less than {coverage:.4g}: {said}", UserWarning, stacklevel=2)
            level = conformal_level(coverage, more["held_out"]) if coverage > 0.5 else coverage
            factor = float(np.interp(level, np.linspace(0, 1, KEPT), more["residuals"][0]))
        elif self.distribution_ is not None:
            factor = NormalDist().inv_cdf(0.5 + coverage / 2)
        else:
            raise ValueError("no row was held out, so that nothing is known of residuals; expected validation_fraction")
        return np.stack([values - factor * width, values + factor * width], axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def check_kind(quantiles: Any, distribution: Any) -> None:
    """See that these are quantiles, or a distribution, or neither."""
    optional(one_of("normal"))(distribution, "distribution")
    if quantiles is not None:
        if np.any(np.diff(levels(quantiles, "quantiles")) <= 0):
            raise ValueError(f"quantiles is {quantiles!r}; expected them in ascending order, each once")
        if distribution is not None:
            raise ValueError("quantiles and distribution are both given; expected one of the two")


KEPT = 201  # quantiles of the residuals, evenly spaced
