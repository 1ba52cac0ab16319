"""A kernel that another one calls is a part of it; called from Python it is compiled by itself."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from numba import cloudpickle

from fastnn import audience
from fastnn.kernels.compiling import kernel


@kernel
def half(x):
    return x / 2


@kernel
def quarter(x):
    return half(half(x))


@kernel
def sign(x, plus=1.0):
    return plus if x > 0 else -plus


@kernel
def signs(x):
    return sign(x) + sign(x, plus=2.0) + sign(-x, 4.0)


def test_a_part_has_no_code_of_its_own_until_python_calls_it():
    assert quarter(6.0) == 1.5
    assert quarter.signatures
    assert not half.signatures
    assert half(6.0) == 3.0
    assert len(half.signatures) == 1
    assert quarter(np.float32(6)) == 1.5  # for other types, too, it is a part again
    assert len(half.signatures) == 1


def test_a_copy_through_pickle():
    """As joblib's processes get a stage that calls one, if it was written in a notebook."""
    text = cloudpickle.dumps({"half": half, "quarter": quarter})
    program = f"import pickle; found = pickle.loads({text!r}); print(found['half'](3.0), found['quarter'](6.0))"
    folder = pathlib.Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert done.stdout == "1.5 1.5\n", done.stderr


def test_defaults_and_names_of_arguments():
    assert signs(1.0) == 1 + 2 - 4


def test_only_what_is_called_from_outside_is_kept_on_disk(tmp_path):
    program = """
import numpy as np
import fastnn
net = fastnn.NeuralNetwork([fastnn.Layer(2, 2, fastnn.Tanh(), seed=0)], fastnn.MSELoss(), 0.01)
net.fit(np.zeros((4, 2)), np.zeros((4, 2)), batch_size=2)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    kept = {path.name for path in tmp_path.rglob("*.nbc")}
    assert any(name.startswith("epoch.train_steps") for name in kept)
    assert not any("forward_batch" in name or "multiply_add" in name for name in kept)


class Terminal:
    """In the place of standard error."""

    def __init__(self, watched):
        self.text, self.watched = "", watched

    def isatty(self):
        return self.watched

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("watched", [True, False])
def test_long_work_is_announced_once_to_a_person(monkeypatch, watched):
    terminal = Terminal(watched)
    monkeypatch.setattr(sys, "stderr", terminal)
    notice = audience.Notice(lambda: "compiling", patience=0.0)
    for _ in range(3):
        with notice.during():
            for _ in range(1000):
                if notice.said:
                    break
                audience.time.sleep(0.01 if watched else 0.0)
    assert terminal.text == ("compiling\n" if watched else "")


def test_short_work_is_not_announced(monkeypatch):
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stderr", terminal)
    notice = audience.Notice(lambda: "compiling", patience=1000.0)
    with notice.during():
        pass
    assert terminal.text == ""
    assert not notice.said
