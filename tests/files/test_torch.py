"""Networks as modules of PyTorch, and modules as networks."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from networks import agree, bits
from strategies import networks

import fastnn
from fastnn import (
    ActivationFunction,
    Adam,
    BatchNorm,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    FormulaError,
    GaussianNoise,
    Identity,
    Layer,
    MSELoss,
    NeuralNetwork,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
)
from fastnn.layers.stage import Stage

torch = pytest.importorskip("torch")
nn = torch.nn


def run(module, X):
    """The outputs of a module in inference, for rows X."""
    dtypes = {one.dtype for one in (*module.parameters(), *module.buffers()) if one.is_floating_point()}
    if any(type(one).__name__ == "Offset" for one in module):
        dtypes = {torch.float64}
    wide = torch.float64 if dtypes == {torch.float64} else torch.float32
    return module.eval()(torch.tensor(X, dtype=wide)).detach().numpy()


@settings(max_examples=25)
@given(networks())
def test_any_network_there_and_back(problem):
    net, X = problem
    module = net.to_torch()
    outputs = run(module, X)
    assert outputs.dtype == net.predict(X).dtype
    agree(outputs, net.predict(X), 1e-5 if net.dtype == "float32" else 1e-12)
    twin = fastnn.from_torch(module, net.loss_function, net.lr)
    assert bits(twin) == bits(net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    kept = [layer for layer in net.layers if not isinstance(layer, GaussianNoise)]
    assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in kept]


def test_modules_are_those_that_pytorch_has():
    layers = [Layer(3, 4, ReLU(), seed=0), Dropout(0.3), BatchNorm(0.2, 1e-3), Layer(4, 2, Identity(), seed=1)]
    module = NeuralNetwork(layers, MSELoss(), 0.1, dtype="float32").to_torch()
    assert isinstance(module, nn.Sequential)
    assert [type(one) for one in module] == [nn.Linear, nn.ReLU, nn.Dropout, nn.BatchNorm1d, nn.Linear]
    assert (module[2].p, module[3].momentum, module[3].eps) == (0.3, 0.2, 1e-3)
    module[0].weight.data.zero_()  # a copy
    assert np.all(layers[0].weights != 0)


def test_training_goes_on_there_and_frozen_layers_stay_so():
    layers = [Layer(3, 4, Tanh(), seed=0, trainable=False), Layer(4, 1, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.1)
    module = net.to_torch().train()
    optimiser = torch.optim.SGD([one for one in module.parameters() if one.requires_grad], 0.1)
    x, t = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.mse_loss(module(x), t).backward()
        optimiser.step()
    net.train(x.numpy().T, t.numpy().T, epochs=3, batch_size=20)
    twin = fastnn.from_torch(module)
    for mine, theirs in zip(net.get_weights(), twin.get_weights()):
        for a, b in zip(mine, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert [layer.trainable for layer in twin.layers] == [False, True]


class Wave(ActivationFunction):
    def __init__(self, rate):
        self.rate = rate

    def f(self, x):
        return np.sin(self.rate * x) + np.where((x > 0) | (x < -2), x, np.expm1(x)) - np.sign(x) * np.log1p(np.abs(x))

    def df(self, x):
        return x * 0


class Weighed(Stage):
    rows = ("weight",)
    trained = 1
    start = (1.0,)
    kernels = (lambda address, W: None, lambda address, W: None)

    def forward(self, x, training, key):
        return self.row("weight") * (x - np.max(x, axis=0, keepdims=True)) ** 3, None

    def backward(self, dx, kept):
        return dx, [0 * dx]


def test_classes_of_your_own():
    rng = np.random.default_rng(0)
    weighed = Weighed()
    net = NeuralNetwork([Layer(3, 5, Wave(1.3), seed=rng), weighed, Layer(5, 2, Wave(0.4), seed=rng)], MSELoss(), 0.1)
    weighed.row("weight")[...] = rng.normal(size=(5, 1))
    x = X = rng.normal(size=(3, 50))
    for layer in net.layers:  # Weighed has no kernels
        x = layer.forward_pass(x)
    module = copy.deepcopy(net.to_torch())
    agree(run(module, X.T), x.T, 1e-13)
    twin = fastnn.from_torch(module)
    assert bits(twin) == bits(net)
    assert repr(twin.layers) == repr(net.layers)
    assert twin.layers[1] is not weighed
    assert set(module.state_dict()) == {"0.weight", "0.bias", "2.weight", "3.weight", "3.bias"}


def test_formulas_that_cannot_be_told():
    class Odd(ActivationFunction):
        def f(self, x):
            return np.nextafter(x, 0 * x)

        def df(self, x):
            return x

    with pytest.raises(FormulaError, match=r"no PyTorch form for Odd: np\.nextafter cannot be exported"):
        NeuralNetwork([Layer(2, 2, Odd())], MSELoss(), 0.1).to_torch()
    net = NeuralNetwork([Layer(2, 2, Identity())], MSELoss(), 0.1)
    net.layers[0].weights[0] = np.nan
    with pytest.raises(ValueError, match=r"layers\[0\] has W with numbers that are not finite"):
        net.to_torch()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_modules_of_any_hand(dtype):
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Dropout(0.2))
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 6, bias=False), nn.GELU(), block, nn.Sequential(), nn.LayerNorm(6, bias=False),
        nn.Identity(), nn.LeakyReLU(0.2), nn.Linear(6, 3), nn.LogSoftmax(dim=1),
    )  # fmt: skip
    with torch.no_grad():
        block[1].running_mean += 0.5
        block[1].running_var *= 3.0
    module = module.to(dtype).eval()
    net = fastnn.from_torch(module, None, 0.01, Adam())
    assert net.dtype == ("float64" if dtype == torch.float64 else "float32")
    assert type(net.loss_function) is CrossEntropyLoss
    X = np.random.default_rng(0).normal(size=(30, 4))
    wide = module.to(torch.float64)
    agree(net.predict_proba(X), np.exp(wide(torch.tensor(X)).detach().numpy()), 1e-5)
    again = net.to_torch()  # units stand for activations by themselves, and are left out
    assert [type(one) for one in again].count(nn.Linear) == 3
    agree(run(again, X), net.predict(X), 1e-5)
    net.fit(X, np.arange(30) % 3, epochs=2, verbose=0)
    assert np.array_equal(net.layers[3].weights, np.eye(6))


def test_ends():
    linear = nn.Linear(3, 2)
    assert type(fastnn.from_torch(linear).loss_function) is MSELoss
    sigmoid = nn.Sequential(linear, nn.Sigmoid())
    assert type(fastnn.from_torch(sigmoid).layers[-1].act_function) is Sigmoid
    logits = fastnn.from_torch(sigmoid, BCEWithLogitsLoss())
    assert type(logits.layers[-1].act_function) is Identity
    x = torch.randn(5, 3)
    agree(logits.predict_proba(x.numpy()), sigmoid(x).detach().numpy(), 1e-6)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Conv1d(1, 1, 1)),
            r"module\[1\] is Conv1d.*: fastnn has no layer for it",
        ),
        (lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.GLU())), r"module\[0\]\[1\] is GLU"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.AlphaDropout(0.5)), r"module\[1\] is AlphaDropout"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)), r"module\[1\] is Linear.*expected \(outs, 2\)"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), r"module\[0\] is ReLU.*before any matrix"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=0)), "expected dim=-1"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1), nn.Linear(2, 2)), "after softmax"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False)), "keeps no running mean"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=None)), "momentum is None"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(3)), "arrays have sizes"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.LayerNorm((2, 2))), "last dimension alone"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Softplus(beta=2)), "expected beta=1"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.Hardtanh(0, 1)), "expected the range from -1 to 1"),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(-0.5)), "expected a number from 0 to 1"),
        (lambda: nn.Sequential(nn.Flatten(0), nn.Linear(3, 2)), "expected start_dim 1"),
        (lambda: nn.Transformer(8, 1, 1, 1, 8), "module is Transformer"),
        (lambda: nn.Sequential(), "layers is empty"),
        (lambda: nn.Linear, r"module is <class .*; expected a torch.nn.Module \(write Linear"),
        (lambda: 3, "module is 3; expected a torch.nn.Module"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_modules_that_are_no_mlp(module, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fastnn.from_torch(module())


def test_means_far_from_zero():
    net = NeuralNetwork([Standardize(), Layer(1, 4, Tanh(), seed=0), Layer(4, 1, Tanh(), seed=1)], MSELoss(), 0.1,
                        dtype="float32")  # fmt: skip
    seconds = np.arange(1_798_761_300, 1_798_761_600.0).reshape(-1, 1)
    net.fit(seconds, seconds % 300 / 300, epochs=5, seed=0, verbose=0)
    module = net.to_torch()
    agree(run(module, seconds), net.predict(seconds), 1e-5)
    twin = fastnn.from_torch(module)
    np.testing.assert_array_equal(twin.predict(seconds), net.predict(seconds))


def test_modules_are_saved_and_exported_as_others_are(tmp_path):
    net = NeuralNetwork(
        [Standardize(fitted=True), Layer(2, 3, Tanh(), seed=0), Layer(3, 1, Tanh(), seed=1)], MSELoss(), 0.1
    )
    module = net.to_torch().eval()
    torch.save(module, tmp_path / "net.pt")
    loaded = torch.load(tmp_path / "net.pt", weights_only=False)
    X = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_array_equal(run(loaded, X), run(module, X))
    program = torch.export.export(module, (torch.tensor(X),))
    np.testing.assert_array_equal(program.module()(torch.tensor(X)).detach().numpy(), run(module, X))
