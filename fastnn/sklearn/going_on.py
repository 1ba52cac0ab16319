"""A fit that goes on from the one before, by `warm_start` or `partial_fit`, under parameters that may have changed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..formulas.optimizers import Optimizer
from ..formulas.schedules import Schedule
from ..network import NeuralNetwork
from .building import dense_layers, first_rate, step_rule
from .stopping import Course

PLAIN = (str, bool, int, float, type(None))  # equal values of these are the same setting
OF_NETWORK = ("activation", "dropout", "loss", "dtype")  # parameters that say what a network is made of,
OF_STEPS = ("solver", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon")  # what its optimiser is,
OF_RATE = ("learning_rate_init", "learning_rate", "power_t")  # and its learning rate


class Standing:
    """Where the fits of an estimator have come to; the next one goes on from there.

    Parameters
    ----------
    estimator : BaseMLP
        With the parameters that its networks are made of.

    Attributes
    ----------
    courses : list of Course
        One for each network; empty before a fit.
    """

    def __init__(self, estimator: Any) -> None:
        self.courses: list[Course] = []
        self._recipe = recipe(estimator)
        self._rule: Optimizer | None = None  # that the first network made its last steps by

    def changed(self, estimator: Any, names: Iterable[str]) -> set[str]:
        """Which of these parameters are no longer what they were in the last fit."""
        return {name for name in names if not alike(getattr(estimator, name), self._recipe[name])}

    def bookmark(self, networks: Iterable[NeuralNetwork]) -> Callable[[], None]:
        """What takes the standing, and these networks, back to where they are now."""
        before = vars(self).copy()
        backs = [*(course.bookmark() for course in self.courses), *map(bookmark, networks)]

        def back() -> None:
            vars(self).update(before)
            for one in backs:
                one()

        return back

    def follow(self, net: NeuralNetwork, copied: NeuralNetwork) -> None:
        """Have a copy in the place of the first network: the steps of the one are those of the other."""
        if self._rule is net.optimizer:
            self._rule = copied.optimizer

    def take_up_steps(self, networks: Sequence[NeuralNetwork], estimator: Any, incremental: bool) -> None:
        """Optimisers without a memory, at the first learning rate; `incremental` keeps those that are as they were."""
        changed = self.changed(estimator, self._recipe)
        keeps = incremental and self.courses and networks[0].optimizer is self._rule
        if not self.courses:
            self.courses = [Course() for _ in networks]
        for net, course in zip(networks, self.courses):
            if not keeps or changed.intersection(OF_STEPS):
                net.optimizer = step_rule(estimator)
            if not keeps or changed.intersection(OF_STEPS + OF_RATE):
                net.lr = first_rate(estimator)
                course.learning_rate = net.lr.lr if isinstance(net.lr, Schedule) else net.lr
            if changed.intersection(("loss", "scoring")):
                course.judge_anew()
        self._rule = networks[0].optimizer
        if changed:
            self._recipe = recipe(estimator)


def recipe(estimator: Any) -> dict[str, Any]:
    """What networks are made and trained by, and what judges them, as it is now."""
    values = {name: getattr(estimator, name) for name in (*OF_NETWORK, *OF_STEPS, *OF_RATE, "scoring")}
    return {name: x if isinstance(x, PLAIN) or callable(x) else copy.deepcopy(x) for name, x in values.items()}


def alike(a: Any, b: Any) -> bool:
    """Whether two values of a parameter say the same: numbers, names, lists of them, objects with equal attributes."""
    if a is b:
        return True
    if isinstance(a, PLAIN) or callable(a) or type(a) is not type(b):
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if hasattr(a, "__dict__"):
        return vars(a).keys() == vars(b).keys() and all(alike(value, vars(b)[name]) for name, value in vars(a).items())
    return bool(np.array_equal(a, b))


def check_weights_kept(
    networks: Sequence[NeuralNetwork], estimator: Any, sizes: Sequence[int], outs: int, anew: str
) -> None:
    """Raise ValueError unless networks of these hidden layers and outputs have the weights that there are.

    `anew` says how to begin anew.
    """
    *hidden, before = (layer.outs for layer in dense_layers(networks[0]))
    if sizes != hidden:
        raise ValueError(
            f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r} but the network to go on with has hidden layers "
            f"of {tuple(hidden)}; expected the same, or {anew} to begin anew"
        )
    if estimator.n_networks != len(networks):
        raise ValueError(
            f"n_networks is {estimator.n_networks} but there are {len(networks)} to go on with; expected the same, or "
            f"{anew} to begin anew"
        )
    if outs != before:
        raise ValueError(
            f"y with loss={estimator.loss!r} needs {outs} outputs but the network to go on with has {before}; "
            f"expected targets and a loss as before, or {anew} to begin anew"
        )


def bookmark(net: NeuralNetwork) -> Callable[[], None]:
    """What takes a network back to where it is now: its weights, its optimiser with its memory, and its rate."""
    weights, optimizer, rate = net.get_weights(), net.optimizer, net.lr
    memory = [array.copy() for array in net.engine.state.arrays()]

    def back() -> None:
        if net.optimizer is not optimizer:
            net.optimizer = optimizer
        net.lr = rate
        if len(memory) > 2:  # more than the numbers of steps and epochs
            net.engine.state.make_room(net.dtype)
        net.engine.state.take_back(memory)
        with contextlib.suppress(ValueError):  # what was not finite cannot be set
            net.set_weights(weights)

    return back
