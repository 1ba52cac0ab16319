"""What differs between scikit-learn 1.4 and the newest."""

from __future__ import annotations

import inspect
import types
from typing import Any

import sklearn.utils.validation


def validate_data(estimator: Any, **settings: Any) -> Any:
    """Check X, or X and y, and note or compare the features: a function since 1.6, a method before."""
    function = getattr(sklearn.utils.validation, "validate_data", None)
    if function is None:
        return getattr(estimator, "_validate_data")(**settings)  # noqa: B009
    return function(estimator, **settings)


def borrowed(function: Any, **names: Any) -> Any:
    """scikit-learn's own function, in whatever version, with other objects under names of its module.

    Its text stays theirs, and their module as it is.
    """
    function = inspect.unwrap(function)
    known = {**function.__globals__, **names}
    twin = types.FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin
