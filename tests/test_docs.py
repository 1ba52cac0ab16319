"""The examples in docstrings and on pages run and print what they say."""

import doctest
import importlib
import importlib.util
import itertools
import os
import pathlib
import pkgutil
import re
import shutil

import pytest
from pages import FENCE, blocks, needed, run, same

import fastnn
from fastnn import plot

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXTRAS = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
NEED = {
    "fastnn.sklearn": "sklearn", "fastnn.tabular": "sklearn", "fastnn.plot": "matplotlib", "fastnn.cli": "typer",
    "fastnn.tabular.onnx": "onnx", "fastnn.data.parquet": "pyarrow",
    **{f"fastnn.files.{name}": name for name in ("onnx", "torch", "keras")},
}  # fmt: skip
EXPORTS = {"onnx", "torch", "keras"}
MISSING = [name for name in sorted(EXPORTS | {"distributed"}) if importlib.util.find_spec(name) is None]
if importlib.util.find_spec("tensorflow") is None and "torch" not in MISSING:
    os.environ.setdefault("KERAS_BACKEND", "torch")
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if not name.endswith("__main__")
    and not any(name.startswith(start) and importlib.util.find_spec(needed) is None for start, needed in NEED.items())
]


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*hasn't converged"),  # where an example of the estimators is short
    pytest.mark.filterwarnings("ignore:.*starlette.testclient"),  # how FastAPI tests, with the httpx that it names
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # within Keras
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(importlib.import_module(name)):
        if not any(needed in example.source for needed in MISSING for example in test.examples):
            runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_run_and_print_what_they_show(page, tmp_path, monkeypatch):
    for package in sorted(needed(page)):
        if package.startswith(("fastnn.sklearn", "fastnn.tabular")):
            pytest.importorskip("sklearn.base")
        elif not package.startswith("fastnn"):
            pytest.importorskip(package)
    if (page.stem == "exports" and EXPORTS.intersection(MISSING)) or (
        page.stem == "microcontroller" and not shutil.which("cc")
    ):
        pytest.skip("needs onnx, torch and keras, or a C compiler")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    assert not run(page)


def test_a_page_that_shows_what_is_not_printed_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2.5\nprint('x is', x)\n```\n\n```text\nx is 2.6\n```\n\n```pycon\n>>> x\n2.5\n```\n"
    )
    assert not run(page)
    for old, new in (("is 2.6", "is 3.5"), ("x is 2.6", "y is 2.6"), ("\n2.5\n```", "\n2.6\n```"), ("is 2.6", "is")):
        other = tmp_path / "other.md"
        other.write_text(page.read_text().replace(old, new))
        assert len(run(other)) == 1, old
    assert same("in 3 steps 1,002.0", "in 3 steps\n1,000.0")
    assert not same("in 3 steps", "in 4 steps")
    assert not same("2.0 steps", "2.0")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_of_pages_are_of_a_known_kind(page):
    for before, block in itertools.pairwise([None, *blocks(page)]):
        where = f"{page.name}, line {block.line}"
        assert block.language in ("python", "pycon", "sh", "text"), where
        assert ">>> " not in block.text or block.language == "pycon", where
        if block.language == "text":  # what the block before it prints
            assert before is not None, where
            assert before.language in ("python", "sh"), where
        if block.language == "sh":
            for command in block.text.replace("\\\n", " ").replace("&&", "\n").splitlines():
                check_command(command.split("#")[0].strip(), where)
    assert not re.search(r"^ {4,}>>> ", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE), page.name


def check_command(command, where):
    """What a page says to type is there: modules, scripts, extras."""
    words = command.split()
    if not words:
        return
    if words[:2] == ["pip", "install"]:
        for extra in re.findall(r"\[([\w,]+)\]", command):
            assert set(extra.split(",")) <= EXTRAS, f"{where}: {command}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), f"{where}: {command}"
    elif words[0] == "python":
        assert (ROOT / words[1]).exists(), f"{where}: {command}"
    else:
        assert words[0] in ("mpiexec", "uvicorn", "mkdocs"), f"{where}: {command}"


def test_pages_lead_somewhere():
    """Links and pictures, in the repository as on the site."""
    for page in PAGES:
        text = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
        for target in re.findall(r'(?:\]\(|src=")(?![a-z]+:|#)([^)"#]+)', text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_site_shows_every_page_and_the_reference_every_name():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = [
        name for page in (ROOT / "docs" / "api").glob("*.md") for name in re.findall(r"::: (\S+)", page.read_text())
    ]
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(rf"(?<![\w/]){name}$", settings, re.MULTILINE), f"{name} is not in nav of mkdocs.yml"
    public = [f"fastnn.{name}" for name in fastnn.__all__ if not name.startswith("__")]
    public += [f"fastnn.plot.{name}" for name in plot.__all__]
    assert not [name for name in public if shown.count(name) != 1], "each belongs on one page of docs/api"


def test_the_page_of_pictures_has_every_picture():
    text = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    assert not [name for name in plot.__all__ if f"plot.{name}(" not in text]


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
