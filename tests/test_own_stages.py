"""Stages of a user's own: a class with its NumPy form, two kernels beside it, and nothing registered."""

import subprocess
import sys

import numba
import numpy as np
import pytest

from fastnn import Identity, Layer, MSELoss, NeuralNetwork, Tanh, reference
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
