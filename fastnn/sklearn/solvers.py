"""What the solvers do with the networks of an estimator: epochs of steps, or L-BFGS on all samples at once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs

from ..checks import Array
from ..network import NeuralNetwork
from ..training.callbacks import Callback
from ..training.epochs import fit
from ..training.guard import DivergedError
from ..training.history import History
from ..training.lbfgs import fit_lbfgs
from ..training.many import fit_many
from ..training.settings import Settings
from .building import dense_layers
from .fitting import Past, current
from .held_out import Sample
from .stopping import StoppingRule

FLAT = 2.220446049250313e-09  # L-BFGS ends where the loss falls by less than this part: scipy's default
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Ending(NamedTuple):
    """How L-BFGS ended: after so many iterations, why, if not for their number, and at which loss."""

    iterations: int
    stopped: str
    loss: float


def descend(
    networks: Sequence[NeuralNetwork],
    train: Sample,
    targets: Array,
    settings: Settings,
    rules: Sequence[StoppingRule],
    others: Sequence[Callback],
    whole: bool,
    n_jobs: int | None,
) -> tuple[list[str], bool]:
    """Train; returns why each network stopped, "" for none but its last epoch, and whether one diverged.

    `targets` are those that the networks' losses take, and `whole` says whether these are all samples of the fit.
    """
    diverged, fitting = False, current()
    if fitting is not None:
        histories: list[History] = []
        seed = settings.seed or 0
        samples = fitting.share(networks[0], train, targets, whole)
        for k, (net, rule) in enumerate(zip(networks, rules)):
            own = others if k == 0 else copy.deepcopy(others)
            told = replace(settings, callbacks=(rule, *own), seed=seed + k)
            try:
                histories.append(fitting.train(net, samples, told, k))
            except DivergedError:
                diverged = True
                rule.note_divergence()
        endings = [history.stopped for history in histories]
        fitting.past = Past(seed, histories)
    elif len(networks) == 1:
        told = replace(settings, callbacks=(rules[0], *others))
        try:
            endings = [fit(networks[0], train.X, targets, told).stopped]
        except DivergedError:
            endings, diverged = ["diverged"], True
            rules[0].note_divergence()
    else:

        def callbacks(k: int) -> list[Callback]:
            return [rules[k], *copy.deepcopy(others)]

        outcomes = fit_many(
            networks, train.X, targets, settings, callbacks=callbacks, bootstrap=False, seed=settings.seed,
            threads=None if n_jobs is None else effective_n_jobs(n_jobs),
        )  # fmt: skip
        endings = [outcome.history.stopped for outcome in outcomes]
        for rule, outcome in zip(rules, outcomes):
            if outcome.diverged:
                diverged = True
                rule.note_divergence()
    return endings, diverged


def lbfgs(estimator: Any, networks: Sequence[NeuralNetwork], sample: Sample, targets: Array) -> list[Ending]:
    """Train each network on all samples by L-BFGS, with the parameters of the estimator.

    Raises
    ------
    ValueError
        If a network does not stay finite.
    """
    weight, total = sample.weight, float(sample.size)
    if weight is not None:
        total = float(weight.sum())
        weight = weight * (sample.size / total)
    settings = Settings(epochs=estimator.max_iter, sample_weight=weight)

    def report(iteration: int, loss: float) -> None:
        if (fitting := current()) is not None:
            fitting.go_on()
        if estimator.verbose:
            print(f"Iteration {iteration}, loss = {loss:.8f}")

    endings = []
    for net in networks:
        with penalty([net], estimator.alpha / total, estimator.alpha / total):
            try:
                history = fit_lbfgs(
                    net.engine, sample.X, targets, settings, tol=max(estimator.tol, np.finfo(float).tiny), memory=10,
                    callback=report, flat=FLAT, max_evaluations=estimator.max_fun,
                )  # fmt: skip
            except DivergedError as error:
                raise ValueError(NOT_FINITE) from error
            if history.epoch:
                loss = history["loss"][-1]
            else:  # no better point: it is the loss where the network was
                loss = net.evaluate(sample.X, targets, sample_weight=weight)["loss"]
                loss += sum(layer.l2 / 2 * float(np.sum(layer.weights**2)) for layer in dense_layers(net))
        endings.append(Ending(len(history.epoch), history.stopped, loss))
    return endings


@contextlib.contextmanager
def penalty(networks: Sequence[NeuralNetwork], during: float, after: float) -> Iterator[None]:
    """Have the penalty `during` a fit, and `after` it the one with which `NeuralNetwork.fit` would go on."""
    layers = [layer for net in networks for layer in dense_layers(net)]

    def penalise(l2: float) -> None:
        for layer in layers:
            if layer.l2 != l2:  # what is set is read anew
                layer.l2 = l2

    penalise(during)
    try:
        yield
    finally:
        if current() is None:  # in a search nobody goes on but `fit`
            penalise(after)
