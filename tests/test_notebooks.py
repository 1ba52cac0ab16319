"""In notebooks: what networks, histories and banks show, and the bar of a fit."""

import os
import pathlib
import xml.etree.ElementTree as tree

import pytest

import fastnn
from fastnn import History, NetworkBank, StopTraining, mlp

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parsed(html):
    """The text of an HTML table's rows; it is well-formed."""
    root = tree.fromstring(f"<div>{html}</div>")
    return [[cell.text for cell in row] for row in root.iter("tr")], "".join(root.itertext())


def test_a_history_shows_its_numbers_and_why_it_stopped():
    history = History()
    history.add(1, {"loss": 0.5, "a<b": 1.0})
    history.add(2, {"loss": 0.25})
    history.stopped = "<script>alert(1)</script>"
    rows, text = parsed(history._repr_html_())
    assert rows == [["epoch", "loss", "a<b"], ["1", "0.5", "1"], ["2", "0.25", "nan"]]
    assert "<script>" not in history._repr_html_()
    assert "stopped: <script>alert(1)</script>" in text


def test_a_long_history_is_shortened():
    history = History()
    for epoch in range(1, 1001):
        history.add(epoch, {"loss": 1 / epoch})
    rows, _ = parsed(history._repr_html_())
    assert [row[0] for row in rows] == ["epoch", "1", "2", "3", "4", "5", "...", "996", "997", "998", "999", "1000"]


def test_an_empty_history_is_a_table_too():
    assert parsed(History()._repr_html_())[0] == [["epoch"]]


def test_a_network_shows_its_summary_escaped():
    class Sharp(fastnn.ActivationFunction):
        def f(self, x):
            return x

        def df(self, x):
            return 1 + 0 * x

        def __repr__(self):
            return "<b>&"

    net = fastnn.NeuralNetwork([fastnn.Layer(2, 3, Sharp(), seed=0)], "mse", 0.1)
    assert "<b>" not in net._repr_html_()
    root = tree.fromstring(net._repr_html_())
    assert root.tag == "pre"
    assert root.text == net.summary()


def test_a_bank_shows_settings_and_scores():
    bank = NetworkBank.grid(lambda seed, word: mlp([2, 3, 1], seed=seed), seed=range(2), word=["<i>"])
    rows, text = parsed(bank._repr_html_())
    assert rows == [["network", "seed", "word"], ["0", "0", "<i>"], ["1", "1", "<i>"]]
    assert "2 - 3 - 1" in text
    bank.fit([[0.0, 1.0], [1.0, 0.0]], [[0.0], [1.0]], epochs=2, seed=0)
    rows, _ = parsed(bank._repr_html_())
    assert rows[0][-2:] == ["epochs", "stopped"]
    assert [row[-2] for row in rows[1:]] == ["2", "2"]


CELLS = [
    "import time, numpy as np, fastnn\nfrom fastnn import plot\n"
    "X = np.random.default_rng(0).normal(size=(200, 2)); y = (X[:, 0] > 0).astype(int)\n"
    "net = fastnn.mlp([2, 4, 2], 'tanh', loss='cross_entropy', seed=0)\nnet",
    "print(net.summary())",
    "slow = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.06))\n"
    "history = net.fit(X, y, epochs=30, seed=0, callbacks=[slow])\nhistory",
    "ax = plot.decision_regions(net, X, y)",
]


@pytest.fixture(scope="module")
def outputs():
    """What the cells of an executed notebook show."""
    for name in ("ipykernel", "matplotlib", "tqdm"):
        pytest.importorskip(name)
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("MPLBACKEND", raising=False)
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.filterwarnings("default")  # of Jupyter's own
class TestInAnExecutedNotebook:
    def test_a_network_is_its_table(self, outputs):
        assert outputs[0][-1].data["text/html"].startswith("<pre>layer ")

    def test_the_summary_is_aligned_text(self, outputs):
        lines = outputs[1][0].text.splitlines()
        assert lines[0].split() == ["layer", "ins", "outs", "parameters", "bytes", "activation"]
        assert len({line.index(" ", 3) for line in lines[1:-1]}) == 1

    def test_a_fit_shows_one_bar_and_no_warning(self, outputs):
        shown = [one for one in outputs[2] if one.output_type != "execute_result"]
        text = "".join(one.get("text", "") for one in shown)
        assert "Warning" not in text
        widget = any("widget-view" in kind for one in shown for kind in one.get("data", {}))
        assert widget or ("epoch" in text and "loss" in text)
        assert "\n" not in text.strip()  # the bar is drawn over itself

    def test_a_history_is_a_table(self, outputs):
        rows, _ = parsed(outputs[2][-1].data["text/html"])
        assert rows[0] == ["epoch", "loss"]
        assert rows[-1][0] == "30"

    def test_a_picture_appears_under_its_cell(self, outputs):
        assert sum("image/png" in one.get("data", {}) for one in outputs[3]) == 1


def test_a_fit_that_a_callback_stopped_says_so_in_its_table():
    def stop(epoch, logs):
        raise StopTraining("a > b")

    net = mlp([2, 1], seed=0)
    history = net.fit(
        [[0.0, 1.0], [1.0, 0.0]], [[0.0], [1.0]], epochs=5, callbacks=[fastnn.LambdaCallback(on_epoch_end=stop)]
    )
    assert "stopped: a &gt; b" in history._repr_html_()
