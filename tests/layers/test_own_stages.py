"""Stages of a user's own: a class with its NumPy form, two kernels beside it, and nothing registered."""

import functools
import subprocess
import sys

import numba
import numpy as np
import pytest
from networks import slopes

import fastnn
from fastnn import SGD, Adam, Identity, Layer, MSELoss, NeuralNetwork, Tanh, reference
from fastnn.kernels.formula import function_digest
from fastnn.kernels.stages import FLOAT64, pointer_at, stage_at
from fastnn.layers.stage import Stage

STAGE = '''
import numpy as np
import fastnn
from fastnn import reference
from fastnn.kernels.stages import FLOAT64, pointer_at, stage_at
from fastnn.layers.stage import Stage

POWER = 2.0

def forward(address, W):
    """x = rate x_in**POWER."""
    stage = stage_at(address)
    n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
    x_in, x, rate = pointer_at(stage.x_in, W), pointer_at(stage.x, W), pointer_at(stage.settings, FLOAT64)[0]
    for i in range(n):
        for j in range(outs):
            x[i * stride + j] = rate * x_in[i * in_stride + j] ** POWER

def backward(address, W):
    stage = stage_at(address)
    n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
    x_in, dx, dx_in = pointer_at(stage.x_in, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
    rate = pointer_at(stage.settings, FLOAT64)[0]
    if stage.dx_in != 0:
        for i in range(n):
            for j in range(outs):
                dx_in[i * stride + j] = rate * POWER * x_in[i * in_stride + j] ** (POWER - 1) * dx[i * stride + j]

class Power(Stage):
    kernels = (forward, backward)
    settings = (0.5,)

    def forward(self, x, training, key):
        return 0.5 * x**POWER, x

    def backward(self, dx, kept):
        return 0.5 * POWER * kept ** (POWER - 1) * dx, []

def errors():
    rng = np.random.default_rng(0)
    layers = [fastnn.Layer(3, 5, fastnn.Tanh(), seed=rng), Power(), fastnn.Layer(5, 2, fastnn.Identity(), seed=rng)]
    net = fastnn.NeuralNetwork(layers, fastnn.MSELoss(), 0.05)
    slow = reference.copy_of(net)
    x, t = rng.normal(size=(3, 20)), rng.normal(size=(2, 20))
    net.train(x, t, epochs=3, batch_size=7)
    slow.train(x, t, epochs=3, batch_size=7)
    return [float(abs(a - b).max()) for a, b in zip(net.forward_pass(x), slow.forward_pass(x))]
'''


def in_a_file(folder):
    path = folder / "script.py"
    path.write_text(STAGE + "\nprint(max(errors()) < 1e-12)\n")
    return [sys.executable, str(path)], None


def in_a_text_without_a_file(folder):
    return [sys.executable, "-"], STAGE + "\nprint(max(errors()) < 1e-12)\n"


@pytest.mark.parametrize("where", [in_a_file, in_a_text_without_a_file])
def test_a_stage_of_the_main_program(where, tmp_path):
    command, text = where(tmp_path)
    for _ in range(2):  # the second time the machine code may come from the disk
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)
        assert done.stdout.strip() == "True", done.stderr


def test_a_stage_of_a_cell_and_of_a_changed_cell():
    for power in ("2.0", "3.0", "2.0"):
        cell = {"__name__": "__main__"}
        exec(compile(STAGE.replace("POWER = 2.0", f"POWER = {power}"), "<cell>", "exec"), cell)
        assert max(cell["errors"]()) < 1e-12


@functools.cache
def scale_class(count, untrained):
    """A stage with trained rows, x = sum_k gamma_k x_in**k for k = 1 ... count, and some that are not trained."""

    def there(address, W):
        stage = stage_at(address)
        n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
        x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
        for i in range(n):
            for j in range(outs):
                total, power = W[0] * 0, W[0] * 0 + 1
                for k in range(count):
                    power *= x_in[i * in_stride + j]
                    total += W[k * stride + j] * power
                for k in range(count, count + untrained):
                    total += W[k * stride + j]
                x[i * stride + j] = total

    def back(address, W):
        stage = stage_at(address)
        n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
        x_in, dx, dx_in = pointer_at(stage.x_in, W), pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
        dW, wants_dx_in = pointer_at(stage.dW, W), stage.dx_in != 0
        for j in range(outs):
            for k in range(count):
                dW[k * stride + j] = 0
            for i in range(n):
                slope, power = W[0] * 0, W[0] * 0 + 1
                for k in range(count):
                    slope += (k + 1) * W[k * stride + j] * power
                    power *= x_in[i * in_stride + j]
                    dW[k * stride + j] += dx[i * stride + j] * power
                if wants_dx_in:
                    dx_in[i * stride + j] = slope * dx[i * stride + j]

    class Scale(Stage):
        rows = tuple(f"gamma{k}" for k in range(1, count + 1)) + tuple(f"shift{k}" for k in range(untrained))
        trained = count
        start = tuple(0.9 / k for k in range(1, count + 1)) + (0.125,) * untrained
        kernels = (there, back)

        def gammas(self):
            return [self.row(name) for name in self.rows[:count]]

        def forward(self, x, training, key):
            shift = sum((self.row(name) for name in self.rows[count:]), np.zeros((self.outs, 1)))
            return sum(gamma * x**k for k, gamma in enumerate(self.gammas(), 1)) + shift, x

        def backward(self, dx, kept):
            slope = sum(k * gamma * kept ** (k - 1) for k, gamma in enumerate(self.gammas(), 1))
            dWs = [np.sum(dx * kept**k, axis=1, keepdims=True) for k in range(1, count + 1)]
            return slope * dx, dWs

    return Scale


def scaled(count, untrained=0, optimizer=None, dtype="float64", **options):
    """A network with such stages at both ends and in the middle, and data for it."""
    rng = np.random.default_rng(0)
    stages = [scale_class(count, untrained)() for _ in range(3)]
    layers = [stages[0], Layer(3, 9, Tanh(), seed=rng), stages[1], Layer(9, 5, Tanh(), seed=rng), stages[2]]
    net = NeuralNetwork(layers, MSELoss(), 0.02, optimizer, dtype=dtype, **options)
    return net, rng.normal(size=(3, 40)), rng.normal(size=(5, 40))


ROWS = [(1, 0), (3, 0), (1, 2), (3, 1), (2, 0)]
TOLERANCES = {"float64": 1e-9, "float32": 1e-3}


@pytest.mark.parametrize(("count", "untrained"), ROWS)
@pytest.mark.parametrize("optimizer", [None, SGD(momentum=0.9), Adam()])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_any_number_of_trained_rows_equals_the_reference(count, untrained, optimizer, dtype):
    for options in ({}, {"clip_norm": 0.5}, {"clip_value": 0.01}):
        net, x, t = scaled(count, untrained, optimizer, dtype, **options)
        net.layers[2].trainable = "clip_value" not in options
        slow = reference.copy_of(net)
        for batch_size in (1, 7, 40):
            arguments = {"epochs": 2, "batch_size": batch_size, "shuffle": True, "seed": 1}
            expected = slow.train(x, t, **arguments)
            assert net.train(x, t, **arguments) == pytest.approx(expected, rel=TOLERANCES[dtype])
        for ours, theirs in zip(net.layers, slow._layers):
            theirs = theirs.arrays() if isinstance(theirs, Stage) else {"W": theirs._W, "b": theirs._b}
            for name, array in ours.arrays().items():
                np.testing.assert_allclose(array, theirs[name], rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
        for name in net.layers[0].rows[count:]:
            assert np.all(net.layers[0].row(name) == 0.125)


@pytest.mark.parametrize(("count", "untrained"), ROWS)
def test_gradients_of_any_number_of_trained_rows(count, untrained):
    net, x, t = scaled(count, untrained)
    ours, theirs = net.gradients(x, t), reference.copy_of(net).gradients(x, t)
    for our_list, their_list in zip(ours[:3], theirs[:3]):
        assert [a.shape for a in our_list] == [a.shape for a in their_list]
        for a, b in zip(our_list, their_list):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    start = net.parameters
    _, gradient = net.loss_and_gradient(x.T, t.T)
    assert gradient.shape == start.shape == (4 * 9 + 10 * 5 + count * (3 + 9 + 5),)
    assert gradient == pytest.approx(slopes(net, x.T, t.T), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("count", [1, 3])
def test_trained_rows_in_a_team(count, dtype, always_teams):
    before, results = fastnn.get_num_threads(), []
    try:
        for team in (1, 2):
            fastnn.set_num_threads(team)
            net, x, t = scaled(count, 1, Adam(), dtype, clip_norm=0.5)
            loss = net.train(x, t, epochs=3, batch_size=16)
            assert team == net.engine.plan()._team
            results.append([loss, net.parameters.tobytes(), net.forward_pass(x).tobytes()])
    finally:
        fastnn.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("count", [1, 3])
def test_the_state_of_trained_rows_is_saved(count, tmp_path):
    net, x, t = scaled(count, 1, Adam())
    net.train(x, t, epochs=2, batch_size=8)
    net.save(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net", custom=[scale_class(count, 1)])
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    for each in (net, twin):
        each.train(x, t, epochs=2, batch_size=8)
    assert net.parameters.tobytes() == twin.parameters.tobytes()


def shifting(by):
    """A stage that is made in a function: x = x_in + by, with a helper of its own."""

    @numba.njit
    def shifted(value):
        return value + by

    def there(address, W):
        stage = stage_at(address)
        n, outs, stride, in_stride = stage.n, stage.outs, stage.stride, stage.in_stride
        x_in, x = pointer_at(stage.x_in, W), pointer_at(stage.x, W)
        for i in range(n):
            for j in range(outs):
                x[i * stride + j] = shifted(x_in[i * in_stride + j])

    def back(address, W):
        stage = stage_at(address)
        n, outs, stride = stage.n, stage.outs, stage.stride
        dx, dx_in = pointer_at(stage.dx, W), pointer_at(stage.dx_in, W)
        if stage.dx_in != 0:
            for i in range(n):
                for j in range(outs):
                    dx_in[i * stride + j] = dx[i * stride + j]

    class Shift(Stage):
        kernels = (there, back)

        def forward(self, x, training, key):
            return x + by, None

        def backward(self, dx, kept):
            return dx, []

    return Shift()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_stage_of_a_function_is_compiled_anew_where_what_it_refers_to_has_changed(dtype):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(3, 30)), rng.normal(size=(2, 30))
    for by in (0.5, -0.25):
        layers = [shifting(by), Layer(3, 4, Tanh(), seed=0), shifting(by), Layer(4, 2, Identity(), seed=1)]
        net = NeuralNetwork(layers, MSELoss(), 0.05, dtype=dtype)
        slow = reference.copy_of(net)
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        for batch_size in (1, 7):
            arguments = {"epochs": 2, "batch_size": batch_size, "shuffle": True, "seed": 1}
            assert net.train(x, t, **arguments) == pytest.approx(slow.train(x, t, **arguments), rel=tolerance)
        np.testing.assert_allclose(net.forward_pass(x), slow.forward_pass(x), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(net.layers[0].forward_pass(x), x + by)


def test_the_digest_of_a_function_sees_what_it_refers_to():
    digests = [function_digest(shifting(by).kernels[0]) for by in (0.5, 0.25, 0.5)]
    assert digests[0] == digests[2] != digests[1]
    assert FLOAT64.dtype == np.float64
