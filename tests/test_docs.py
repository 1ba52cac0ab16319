"""The examples in docstrings and in the README run and print what they say."""

import doctest
import importlib
import importlib.util
import os
import pathlib
import pkgutil
import re

import pytest

import fastnn
from fastnn import plot

ROOT = pathlib.Path(__file__).parent.parent
HAS_SKLEARN = importlib.util.find_spec("sklearn.base") is not None
NEED = {
    "fastnn.sklearn": "sklearn", "fastnn.tabular": "sklearn", "fastnn.plot": "matplotlib", "fastnn.cli": "typer",
    "fastnn.tabular.onnx": "onnx", **{f"fastnn.files.{name}": name for name in ("onnx", "torch", "keras")},
}  # fmt: skip
MISSING = [name for name in ("onnx", "torch", "keras") if importlib.util.find_spec(name) is None]
if importlib.util.find_spec("tensorflow") is None and "torch" not in MISSING:
    os.environ.setdefault("KERAS_BACKEND", "torch")
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if not name.endswith("__main__")
    and not any(name.startswith(start) and importlib.util.find_spec(needed) is None for start, needed in NEED.items())
]


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*hasn't converged"),  # where an example of the estimators is short
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # within Keras
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(importlib.import_module(name)):
        if not any(needed in example.source for needed in MISSING for example in test.examples):
            runner.run(test)
    assert runner.failures == 0


def test_readme_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 0
    assert failed == 0


@pytest.mark.skipif(not HAS_SKLEARN, reason="needs scikit-learn")
def test_examples_for_those_who_come_from_scikit_learn():
    failed, tried = doctest.testfile(str(ROOT / "docs" / "from-scikit-learn.md"), module_relative=False)
    assert tried > 0
    assert failed == 0


def test_examples_for_tables():
    for package in ("sklearn.base", "pandas", "narwhals"):
        pytest.importorskip(package)
    failed, tried = doctest.testfile(str(ROOT / "docs" / "tabular.md"), module_relative=False)
    assert tried > 0
    assert failed == 0


@pytest.mark.skipif(bool(MISSING), reason="needs onnx, torch and keras")
def test_examples_of_exports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = str(ROOT / "docs" / "exports.md")
    failed, tried = doctest.testfile(page, module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 0
    assert failed == 0


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_examples_of_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "pictures.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 0
    assert failed == 0
    assert (tmp_path / "network.png").read_bytes().startswith(b"\x89PNG")
    missing = [name for name in plot.__all__ if f"plot.{name}(" not in page.read_text(encoding="utf-8")]
    assert not missing


def test_everything_public_is_documented_and_exported():
    for name in fastnn.__all__:
        value = getattr(fastnn, name)
        if callable(value):
            assert value.__doc__, name
            for method in (m for m in vars(value) if not m.startswith("_")) if isinstance(value, type) else ():
                member = getattr(value, method)
                inherited = any(getattr(getattr(base, method, None), "__doc__", None) for base in value.__mro__[1:])
                assert not callable(member) or member.__doc__ or inherited, f"{name}.{method}"


def test_the_tests_that_pages_name_are_there():
    named = [
        (page.name, test, path)
        for page in (ROOT / "docs").glob("*.md")
        for test, path in re.findall(r"\[`(test_\w+)`\]\(\.\./([\w/]+\.py)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(named) > 30
    for page, test, path in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{page} names {path}: {test}"
