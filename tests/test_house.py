"""The house: who may import whom, no circles, and nobody touches another module's private names."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "fastnn"
FILES = {".".join(f.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): f
         for f in sorted(ROOT.rglob("*.py"))}  # fmt: skip
OWN = {"self", "cls", "other"}  # names that stand for an object of the same class

ALLOWED = {  # what each folder, or file of one, may import of fastnn, besides itself; nothing is said of those above
    "kernels": {"audience"},
    "formulas": {"checks", "changes", "extras", "kernels.fields", "kernels.formula"},
    "data": {"checks", "extras", "formulas", "kernels", "room"},
    "layers": {"checks", "changes", "data", "formulas", "kernels", "room"},
    "engine": {"checks", "changes", "data", "formulas", "kernels", "layers", "room"},
    "files": {"checks", "engine", "extras", "formulas", "kernels.formula", "layers", "saving", "version"},
    "files.arrays": {"checks"},  # on which saving stands, and the other files on that
    "saving": {"checks", "data", "files", "engine", "formulas", "layers"},
    "training": {
        "audience",
        "checks",
        "extras",
        "files",
        "html_table",
        "saving",
        "data",
        "engine",
        "formulas",
        "kernels",
        "layers",
        "room",
    },
    "reference": {"checks", "formulas", "kernels", "layers"},
    "tabular": {
        "network",
        "saving",
        "files",
        "checks",
        "extras",
        "room",
        "data",
        "engine.threads",
        "formulas",
        "layers",
        "training",
        "version",
        "words",
    },
    "cli": {
        "network",
        "perceptron",
        "warmup",
        "saving",
        "files",
        "checks",
        "extras",
        "version",
        "engine.threads",
        "plot",
        "room",
        "tabular",
        "training",
        "words",
    },
    "distributed": {
        "network",
        "saving",
        "checks",
        "extras",
        "data",
        "engine",
        "formulas",
        "kernels",
        "layers",
        "training",
        "version",
    },
    "plot": {"bank", "network", "checks", "extras", "formulas", "layers", "training"},
    "sklearn": {
        "bank",
        "network",
        "checks",
        "extras",
        "data",
        "engine.crew",
        "engine.hired",
        "engine.threads",
        "engine.workers",
        "formulas",
        "layers",
        "training",
    },
}


def imports(name):
    """The modules of fastnn that a module imports, for types alone too."""
    file = FILES[name]
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *(node.module or "").split(".")]).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in FILES else base


@pytest.mark.parametrize("name", FILES)
def test_imports_run_downwards(name):
    parts = name.split(".")[1:]
    place = next((p for n in (2, 1) if (p := ".".join(parts[:n])) in ALLOWED and len(parts) >= n), "")
    if place:
        fine = tuple(f"fastnn.{part}" for part in {place, *ALLOWED[place]})
        wrong = [found for found in imports(name) if not any(f"{found}.".startswith(f"{part}.") for part in fine)]
        assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("name", FILES)
def test_nothing_imports_the_doors_for_others(name):
    may = {"fastnn.tabular": "fastnn.cli", "fastnn.cli": "fastnn.__main__"}
    for door in ("fastnn.sklearn", "fastnn.tabular", "fastnn.cli", "fastnn.distributed"):
        if not name.startswith((door, may.get(door, door))):
            assert not [found for found in imports(name) if found.startswith(door)]


def test_the_packages_that_are_built_are_the_folders():
    settings = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    listed = ast.literal_eval(re.search(r"^packages = (\[.*?\])\n\n", settings, re.MULTILINE | re.DOTALL)[1])
    assert sorted(listed) == sorted(name for name, file in FILES.items() if file.name == "__init__.py")


def test_there_is_no_circle():
    graph = {name: set(imports(name)) - {name, "fastnn"} for name in FILES if name != "fastnn"}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("name", FILES)
def test_nobody_touches_private_names_of_other_objects(name):
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(FILES[name].read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in OWN)
        and not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super")
    ]  # fmt: skip
    if name != "fastnn.reference" and not name.startswith("fastnn.kernels"):  # Numba's own names, the article's own
        assert not found


def test_no_function_outside_the_kernels_takes_many_arguments_by_place():
    for name, file in FILES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and ".kernels" not in name:
                assert len(node.args.args) <= 9, f"{name}.{node.name}"
