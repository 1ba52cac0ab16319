"""Random networks and data for the tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fastnn import (
    ActivationFunction,
    BCEWithLogitsLoss,
    GammaLoss,
    Layer,
    LossFunction,
    NeuralNetwork,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    TweedieLoss,
)
from fastnn.formulas import component


def built_in(base):
    """All classes of fastnn's own under `base`; ``cls.example()`` makes one."""
    return list(component.built_in(base).values())


ACTIVATIONS = built_in(ActivationFunction)
LOSSES = built_in(LossFunction)


def targets_for(loss, outs, n, rng):
    """Targets that make sense for `loss`."""
    if loss.target == "class":
        return rng.integers(0, outs, n)
    values = rng.normal(size=(outs, n))
    if isinstance(loss, SoftCrossEntropyLoss):
        return np.exp(values) / np.exp(values).sum(axis=0)
    if isinstance(loss, BCEWithLogitsLoss):
        return rng.uniform(size=(outs, n))
    if isinstance(loss, GammaLoss):
        return rng.gamma(2.0, 1.0, (outs, n))
    if isinstance(loss, (PoissonNLLLoss, TweedieLoss)):
        return rng.poisson(1.0, (outs, n)).astype(float)
    return values


@st.composite
def problems(draw, max_width=20, max_depth=4, max_n=40):
    """A network and data: (net, x, t)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=max_depth + 1))
    layers = [
        Layer(ins, outs, draw(st.sampled_from(ACTIVATIONS)).example(), bias_init="he_normal", seed=rng)
        for ins, outs in zip(sizes, sizes[1:])
    ]
    loss = draw(st.sampled_from(LOSSES)).example()
    n = draw(st.integers(1, max_n))
    x = rng.normal(size=(sizes[0], n))
    x[rng.random(x.shape) < draw(st.sampled_from([0.0, 0.5]))] = 0.0
    return NeuralNetwork(layers, loss, 0.01), x, targets_for(loss, sizes[-1], n, rng)
