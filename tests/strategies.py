"""Random networks and data for the tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fastnn import (
    ActivationFunction,
    BCEWithLogitsLoss,
    Embedding,
    GammaLoss,
    Layer,
    LossFunction,
    NeuralNetwork,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    Standardize,
    StandardizeTargets,
    TweedieLoss,
)
from fastnn.formulas import component
from fastnn.layers.stage import Stage


def built_in(base):
    """All classes of fastnn's own under `base`; ``cls.example()`` makes one."""
    return list(component.built_in(base).values())


ACTIVATIONS = built_in(ActivationFunction)
LOSSES = built_in(LossFunction)
STAGES = built_in(Stage)


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


@st.composite
def networks(draw, max_width=12, max_depth=4, n=50):
    """A network of any activations and stages, as if trained, in float32 or float64, and rows: (net, X)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=max_depth + 1))
    between = st.sampled_from([None, *(stage for stage in STAGES if stage.stands == "anywhere")])
    layers = [Standardize(fitted=True)] if draw(st.booleans()) else []
    if not layers and draw(st.booleans()):
        size = draw(st.integers(1, sizes[0]))
        layers = [Embedding(rng.integers(1, 6, draw(st.integers(1, sizes[0] // size))), size, seed=1)]
    for ins, outs in zip(sizes, sizes[1:]):
        act = draw(st.sampled_from(ACTIVATIONS)).example()
        layers.append(Layer(ins, outs, act, bias_init="he_normal", seed=rng))
        stage = draw(between)
        layers += [] if stage is None else [stage.example()]
    dtype = draw(st.sampled_from(["float32", "float64"]))
    loss = draw(st.sampled_from(LOSSES)).example()
    if takes_targets(loss) and draw(st.booleans()):
        layers.append(StandardizeTargets(fitted=True))
    net = NeuralNetwork(layers, loss, 0.01, dtype=dtype)
    X = rng.normal(size=(n, sizes[0]))
    if layers and isinstance(layers[0], Embedding):
        X = np.round(X * 3)
    return as_if_trained(net, rng, far=draw(st.booleans())), X + rows_mean(net)


def as_if_trained(net, rng, far=False):
    """The network, with numbers in its stages that are not those at first; `far`: with means far from 0."""
    for layer in net.layers:
        if isinstance(layer, Standardize):
            layer.row("mean")[...] = rng.normal(size=(layer.outs, 1))
            layer.row("scale")[...] = rng.uniform(0.5, 2.0, (layer.outs, 1))
            if far and net.dtype == np.float32:
                layer.offset = rng.normal(size=(layer.outs, 1)) * 1e6
        elif isinstance(layer, StandardizeTargets):
            layer.std = rng.uniform(0.5, 2.0, (layer.outs, 1)) * 10.0 ** rng.integers(-3, 4)
            layer.mean = rng.normal(size=(layer.outs, 1)) * (1e9 if far else 1.0)
        elif isinstance(layer, Embedding):
            pass
        elif isinstance(layer, Stage):
            for row in layer.arrays().values():
                row[...] = rng.uniform(0.5, 1.5, row.shape)
    return net


def takes_targets(loss):
    """Whether a `StandardizeTargets` may stand in a network of this loss."""
    classes = loss.target == "class" or type(loss).probabilities is not LossFunction.probabilities
    return not classes and loss.domain is None and loss.standardizable


def rows_mean(net):
    """Where the rows should lie for a network: (ins,)."""
    first = net.layers[0]
    return first.means[:, 0] if isinstance(first, Standardize) else np.zeros(first.ins)
