"""What stands in several files of the project and must be the same in all of them."""

import re
from pathlib import Path

import fastnn

ROOT = Path(__file__).resolve().parent.parent


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_has_the_version():
    assert re.search(r"^version: (.*)$", text("CITATION.cff"), re.MULTILINE)[1] == fastnn.__version__


def test_the_workflow_tests_what_the_project_promises():
    project, workflow = text("pyproject.toml"), text(".github/workflows/test.yml")
    promised = re.findall(r"Python :: (3\.\d+)", project)
    assert re.findall(r'"(3\.\d+)"', re.search(r"python: (\[.*\])", workflow)[1]) == promised
    for package, lowest in re.findall(r'"(numpy|numba)>=([\d.]+)"', project):
        assert f'"{package}=={lowest}.*"' in workflow
    assert f'python-version: "{promised[0]}"' in workflow[workflow.index("lowest:") :]
    systems = set(re.findall(r"{os: (\S+?),", workflow))
    assert systems == {"ubuntu-24.04-arm", "macos-latest", "windows-latest"}


def test_the_hooks_of_a_commit_are_those_of_the_suite():
    hooks = re.findall(r"entry: (\w+)", text(".pre-commit-config.yaml"))
    run = text(".ci/run")
    assert set(hooks) == {"ruff", "mypy"}
    assert all(re.search(rf"^{hook}\b", run, re.MULTILINE) for hook in hooks)
