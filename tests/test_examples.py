"""The example scripts run, in a process of their own each, and reach what they promise."""

import gzip
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MNIST = Path(os.environ.get("FASTNN_MNIST") or ROOT.parent / "shared" / "data" / "mnist")
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_sklearn = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="set FASTNN_MNIST to the directory of MNIST's IDX files")


@pytest.fixture
def run(tmp_path):
    """A function that runs a script in `tmp_path`; it returns what the script prints."""

    def run(script, *arguments, code=0, without=None):
        command = [str(EXAMPLES / script), *map(str, arguments)]
        if without is not None:  # as if that package were not installed
            hide = f"import runpy, sys; sys.modules[{without!r}] = None; sys.argv = sys.argv[1:]; "
            command = ["-c", hide + "runpy.run_path(sys.argv[0], run_name='__main__')", *command]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)])}
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    return run


def number(pattern, text):
    """The number in `text` where `pattern` has ``#``."""
    found = re.search(re.escape(pattern).replace(r"\#", r"([\d.,]+(?:e[+-]?\d+)?)"), text)
    assert found, f"no {pattern!r} in {text!r}"
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize("script", ["zeros.py", "quadrants.py", "digits.py", "teacher_student.py", "ensemble.py"])
def test_help_shows_the_options(run, script):
    assert "--seed" in run(script, "--help")


# --- zeros ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 5, 7])  # for about half of all seeds it does not, nor does the article's
def test_zeros_loss_falls_at_least_a_hundredfold(run, seed):
    output = run("zeros.py", "--seed", seed)
    before = number("before training: #", output)
    after = number("after 10,000 steps: #", output)
    assert after > 0
    assert before > 100 * after


# --- quadrants --------------------------------------------------------------------------------


def test_quadrants_accuracy_is_above_95_percent(run, tmp_path):
    output = run("quadrants.py", "--reference-steps", 500)
    assert number("1,000 test points before training: #%", output) < 90
    assert number("1,000 test points after training: #%", output) > 95
    assert number("after the same 500 steps their weights differ by at most #", output) < 1e-9
    assert number("compiled training: # ns/step", output) > 0
    assert number("NumPy: 500 steps in # s", output) > 0
    if HAS_MATPLOTLIB:
        assert (tmp_path / "quadrants.png").read_bytes().startswith(b"\x89PNG")


SMALL = ["--points", 2000, "--networks", 1, "--reference-steps", 0]


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_quadrants_saves_the_picture_only_where_asked(run, tmp_path):
    assert "saved" not in run("quadrants.py", *SMALL, "--no-plot")
    assert "saved mine.png" in run("quadrants.py", *SMALL, "--plot", "mine.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_quadrants_runs_without_matplotlib(run, tmp_path):
    assert "after training" in run("quadrants.py", *SMALL, without="matplotlib")
    assert not list(tmp_path.iterdir())
    assert "pip install" in run("quadrants.py", *SMALL, "--plot", "mine.png", without="matplotlib", code=2)


# --- digits -----------------------------------------------------------------------------------


def confusion_matrix(output):
    """The matrix that digits.py prints."""
    lines = output.splitlines()[-10:]
    rows = [[int(word) for word in line.split()] for line in lines]
    assert [row[0] for row in rows] == list(range(10))
    assert len({len(line) for line in lines}) == 1, "the columns are not aligned"
    return np.array([row[1:] for row in rows])


@needs_sklearn
def test_digits_reads_the_bundled_digits(run):
    output = run("digits.py")
    accuracy = number("test accuracy: #%", output)
    assert accuracy > 93
    matrix = confusion_matrix(output)
    assert matrix.shape == (10, 10)
    assert matrix.sum() == number("to learn from, # to test with", output) == 1797 // 5
    assert 100 * np.trace(matrix) / matrix.sum() == pytest.approx(accuracy, abs=0.01)


@needs_mnist
def test_digits_reads_mnist(run):
    output = run("digits.py", "--mnist", MNIST)
    assert number("test accuracy: #%", output) >= 95
    assert confusion_matrix(output).sum() == number("to learn from, # to test with", output)


def test_digits_says_what_is_missing(run, tmp_path):
    assert "pip install" in run("digits.py", without="sklearn", code=2)
    assert "has no file train*images*" in run("digits.py", "--mnist", tmp_path, code=2)
    assert "nowhere" in run("digits.py", "--mnist", tmp_path / "nowhere", code=2)


# --- pictures -------------------------------------------------------------------------------


@needs_sklearn
@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_the_pictures_of_the_documentation_are_made_by_their_script(run, tmp_path):
    run("pictures.py", "--out", tmp_path / "here")
    made = {path.name for path in (tmp_path / "here").iterdir()}
    kept = {path.name: path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()}
    assert made == set(kept)
    assert max(kept.values()) < 150_000
    shown = re.findall(r"\]\(pictures/(.*?)\)", (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(made)


# --- teacher and students ---------------------------------------------------------------------


@needs_sklearn
def test_students_learn_from_the_teacher(run):
    output = run("teacher_student.py", "--student-lr", 0.01, 0.03)
    assert number("teacher 64-16-16-10, learning rate 0.003: test accuracy #%", output) > 85
    for lr in ("0.01", "0.03"):
        assert number(f"student 64-10, learning rate {lr}: test accuracy #%", output) > 80


# --- ensemble ---------------------------------------------------------------------------------


def test_the_ensemble_spreads_where_there_are_no_samples(run):
    output = run("ensemble.py", "--threads", 2)
    rows = [line.split() for line in output.splitlines() if re.match(r" +-?\d\.0 ", line)]
    spread = {float(row[0]): float(row[3]) for row in rows}
    assert min(spread[-6.0], spread[6.0]) > 3 * max(spread[-2.0], spread[0.0], spread[2.0])
    together, alone = number("error between -3 and 3: # of the mean", output), number("of the mean, # of one", output)
    assert 0 < together < alone
    losses = [float(loss) for loss in re.findall(r"val_loss ([\d.]+)", output)]
    assert len(losses) == 4
    assert losses == sorted(losses)
    assert losses[-1] > 3 * losses[0]


# --- from scikit-learn ------------------------------------------------------------------------


def first_numbers(output):
    return [float(word) for word in re.findall(r"[a-z ] (\d+\.\d+)", output)]


@needs_sklearn
@pytest.mark.parametrize(
    ("name", "allowed"),
    [("digits", [0.02]), ("search", [0.03]), ("diabetes", [4, 6])],
    ids=["digits", "search", "diabetes"],
)
def test_scripts_for_scikit_learn_do_as_well_with_fastnn(run, name, allowed):
    before, after = (run(f"from_scikit_learn/{name}_{when}.py") for when in ("before", "after"))
    for theirs, ours, most in zip(first_numbers(before), first_numbers(after), allowed, strict=True):
        assert abs(ours - theirs) <= most


@pytest.mark.parametrize("name", ["digits", "search"])
def test_scripts_for_scikit_learn_change_their_import_alone(name):
    before, after = (
        {line for line in (EXAMPLES / "from_scikit_learn" / f"{name}_{when}.py").read_text().splitlines() if line}
        for when in ("before", "after")
    )
    changed = {line for line in before ^ after if not line.startswith('"""')}
    assert changed == {"from sklearn.neural_network import MLPClassifier", "from fastnn.sklearn import MLPClassifier"}


# --- the IDX reader ---------------------------------------------------------------------------


@pytest.fixture
def digit_data(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import digit_data

    return digit_data


def idx(array, magic=None):
    """The content of an IDX file with an array of bytes."""
    magic = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def plain(content):
    return content


@pytest.mark.parametrize("pack", [plain, gzip.compress])
@pytest.mark.parametrize("shape", [(5,), (5, 4, 3)])
def test_read_idx_gives_back_what_was_written(digit_data, tmp_path, pack, shape):
    array = np.random.default_rng(0).integers(0, 256, shape)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array)))
    assert np.array_equal(digit_data.read_idx(path, len(shape)), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG\r\n", "starts with 89 50 4e 47; expected 00 00 08 03"),
        (idx(np.zeros(4)), "expected 00 00 08 03, an IDX file of 3 dimensions"),
        (idx(np.zeros((1, 2, 2)), b"\0\0\x0d\x03"), "starts with 00 00 0d 03"),
        (idx(np.zeros((1, 2, 2)))[:10], "has 10 bytes; its header alone takes 16"),
        (idx(np.zeros((1, 2, 2)))[:-1], r"has 3 bytes after its header; expected 4 \(1 x 2 x 2\)"),
        (idx(np.zeros((1, 2, 2))) + b"\0", "has 5 bytes after its header"),
        (gzip.compress(idx(np.zeros((1, 2, 2))), mtime=0)[:-9], "is a damaged gzip file"),
    ],
)
def test_read_idx_says_what_is_wrong(digit_data, tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        digit_data.read_idx(path, 3)


def write_mnist(directory, labels_of_test=None):
    """Four IDX files, two of them gzipped: each image is a bright dot whose place tells its class."""
    rng = np.random.default_rng(0)
    for start, count, pack, end in (("train5h", 500, plain, ""), ("t10k", 50, gzip.compress, ".gz")):
        classes = rng.integers(0, 10, count)
        images = rng.integers(0, 50, (count, 4, 5))
        images.reshape(count, 20)[np.arange(count), 2 * classes] = 255
        labels = classes if start != "t10k" or labels_of_test is None else labels_of_test
        (directory / f"{start}-images-idx3-ubyte{end}").write_bytes(pack(idx(images)))
        (directory / f"{start}-labels.idx1-ubyte{end}").write_bytes(pack(idx(labels)))


def test_digits_reads_any_idx_files_and_is_reproducible(run, tmp_path):
    write_mnist(tmp_path)
    options = ["--mnist", tmp_path, "--hidden", 16, "--activation", "Tanh", "--dtype", "float64", "--seed", 7]
    output, again = (run("digits.py", *options) for _ in range(2))
    assert "500 digits of 20 pixels to learn from, 50 to test with" in output
    assert number("test accuracy: #%", output) == 100
    assert number("epoch 20: mean loss #", output) == number("epoch 20: mean loss #", again)


def test_digits_tells_of_a_wrong_file(run, tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train5h-images-idx3-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\0")
    assert "starts with 00 00 08 01; expected 00 00 08 03" in run("digits.py", "--mnist", tmp_path, code=2)


@pytest.mark.parametrize(
    ("labels", "message"), [(np.zeros(49), "50 images and 49 labels"), (np.full(50, 11), "holds the label 11")]
)
def test_labels_must_fit(digit_data, tmp_path, labels, message):
    write_mnist(tmp_path, labels)
    with pytest.raises(ValueError, match=message):
        digit_data.mnist(tmp_path)
