"""What ``import fastnn`` loads, and that nothing depends on which of its modules was loaded first."""

import pathlib
import pkgutil
import subprocess
import sys

import pytest

import fastnn
from fastnn import public

ROOT = pathlib.Path(__file__).parent.parent
OPTIONAL = {"matplotlib", "narwhals", "onnx", "pandas", "polars", "safetensors"}
OPTIONAL |= {"dask", "distributed", "h5py", "joblib", "mpi4py", "optuna", "pyarrow", "zarr"}
OPTIONAL |= {"sklearn", "tensorboardX", "torch", "tqdm"}


def fresh(code):
    """What `code` prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code):
    """The modules that `code` loads and that are not Python's own."""
    names = fresh(f"import sys; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))").split()
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def test_an_import_loads_nothing_but_the_version():
    assert loaded_by("import fastnn; fastnn.__version__") == {"fastnn", "fastnn.version"}


def test_probing_for_a_private_name_loads_nothing():
    assert "numba" not in loaded_by("import fastnn; hasattr(fastnn, '__wrapped__'); hasattr(fastnn, '_repr_html_')")


@pytest.mark.parametrize("code", ["from fastnn import *", "import fastnn; fastnn.Layer", "import fastnn; dir(fastnn)"])
def test_no_optional_package_is_loaded(code):
    packages = {name.split(".")[0] for name in loaded_by(code)}
    assert "numba" in packages
    assert not packages & OPTIONAL


def test_training_on_one_machine_knows_nothing_of_many():
    fit = "import fastnn as f; f.NeuralNetwork([f.Layer(2, 1, 'tanh')], 'mse', 0.1).fit([[0.5, 1.0]], [0.5])"
    assert not [name for name in loaded_by(fit) if "distributed" in name or "mpi4py" in name or "dask" in name]


def test_many_machines_are_there_without_being_imported_by_name():
    assert fresh("import fastnn; print(fastnn.distributed.__name__)") == "fastnn.distributed\n"


def test_every_public_name_comes_with_a_star_and_is_in_dir():
    code = "from fastnn import *; import fastnn; print(*[name for name in fastnn.__all__ if name in globals()])"
    assert fresh(code).split() == fastnn.__all__
    assert set(fastnn.__all__) <= set(dir(fastnn))
    assert fastnn.__all__ is public.__all__


@pytest.mark.parametrize("name", ["bank", "kernels", "nn", "training"])
def test_a_module_is_there_without_being_imported_by_name(name):
    assert fresh(f"import fastnn; print(fastnn.{name}.__name__)") == f"fastnn.{name}\n"


def test_a_name_that_is_not_there():
    for name in ("Typo", "_private", "__wrapped__", "sys", "os"):
        with pytest.raises(AttributeError, match=f"^module 'fastnn' has no attribute '{name}'$"):
            getattr(fastnn, name)


def test_no_module_has_the_name_of_something_public():
    assert not {name for _, name, _ in pkgutil.iter_modules(fastnn.__path__)} & set(fastnn.__all__)


def test_threads_that_ask_first_at_once_get_the_same():
    code = """
import threading, fastnn
found, start = [], threading.Barrier(8)
def ask(name):
    start.wait()
    found.append(getattr(fastnn, name))
names = ["Layer", "network", "Adam", "kernels", "load", "saving", "Layer", "bank"]
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(map(id, found))))
"""
    assert fresh(code).split() == ["8", "7"]


@pytest.mark.parametrize("start", ["network", "saving", "nn"])
def test_files_know_all_classes_whatever_was_imported(start):
    """A file names a class; which modules a program has imported must not decide whether it is found."""
    ask = """
from fastnn.formulas.component import Component, built_in
print(*[name for name, cls in built_in(Component).items() if cls.__module__.split(".")[1] in ("formulas", "layers")])
"""
    assert fresh(f"import fastnn.{start}{ask}") == fresh(f"from fastnn import *{ask}")


def test_a_pickle_works_in_a_process_that_imported_nothing(tmp_path):
    file = str(tmp_path / "net")
    show = "; print(net.predict([[0.5, 1.0]]).tolist())"
    make = f"""
import pickle
from fastnn import Layer, MSELoss, NeuralNetwork, Scale
net = NeuralNetwork([Layer(2, 2, "tanh", seed=0), Scale(2.0)], MSELoss(), 0.1)
pickle.dump(net, open({file!r}, "wb"))"""
    assert fresh(make + show) == fresh(f"import pickle; net = pickle.load(open({file!r}, 'rb'))" + show)


def test_names_of_other_libraries_lead_to_ours():
    for name, where in public.elsewhere.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}': ") as raised:
            getattr(fastnn, name)
        assert where in str(raised.value)
        assert name not in fastnn.__all__
    for room in ("sklearn", "tabular"):
        module = pytest.importorskip(f"fastnn.{room}")
        assert {name for name, where in public.elsewhere.items() if where.endswith(f".{room}")} == set(module.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'Nothing'$"):
        fastnn.Nothing  # noqa: B018
