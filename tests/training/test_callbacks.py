"""Callbacks: when they run, what they stop, and what they leave behind."""

import copy
import csv
import io
import pickle
import time

import numpy as np
import pytest
from networks import bits, classifier, ctrl_c_in

from fastnn import (
    Callback,
    CSVLogger,
    DivergedError,
    EarlyStopping,
    LambdaCallback,
    NetworkBank,
    ReduceLROnPlateau,
    StopTraining,
    TensorBoard,
    TimeLimit,
)
from fastnn.training import progress


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self):
        self.calls.append("begin")

    def on_epoch_begin(self, epoch):
        self.calls.append(epoch)

    def on_epoch_end(self, epoch, logs):
        self.calls.append((epoch, sorted(logs)))

    def on_train_end(self):
        self.calls.append("end")


class Scripted(Callback):
    """Stands before a callback in the list and gives it a `score` of our own."""

    def __init__(self, scores):
        self.scores = scores

    def on_epoch_end(self, epoch, logs):
        logs["score"] = self.scores[epoch - 1]


def test_order_of_calls():
    net, X, y = classifier()
    recorder = Recorder()
    net.fit(X, y, epochs=2, callbacks=[recorder], validation_split=0.5)
    assert recorder.calls == ["begin", 1, (1, ["loss", "val_loss"]), 2, (2, ["loss", "val_loss"]), "end"]
    assert recorder.net is net


def test_lambda_callback_and_an_error_in_a_callback():
    net, X, y = classifier()
    seen = []

    def fail(epoch, logs):
        seen.append(epoch)
        raise RuntimeError("mine")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="mine"):
        net.fit(X, y, epochs=3, callbacks=[recorder, LambdaCallback(on_epoch_end=fail)])
    assert seen == [1]
    assert recorder.calls[-1] == "end"
    net.fit(X, y)


def test_early_stopping_restores_the_best_weights():
    net, X, y = classifier()
    snapshots = []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: snapshots.append(bits(net)))
    scores = [3.0, 2.0, 2.5, 1.9999, 5.0, 6.0, 0.0]
    stopper = EarlyStopping("score", patience=3, min_delta=0.01, mode="min")
    history = net.fit(X, y, epochs=7, callbacks=[Scripted(scores), keep, stopper])
    assert history.epoch == [1, 2, 3, 4, 5]
    assert history.stopped == "score has not improved since epoch 2"
    assert bits(net) == snapshots[1]


@pytest.mark.parametrize(("name", "low"), [("val_accuracy", False), ("auc", False), ("loss", True), ("mse", True)])
def test_early_stopping_knows_what_is_good(name, low):
    stopper = EarlyStopping(name)
    stopper.on_train_begin()
    assert stopper.improved(1, {name: 0.5})
    assert stopper.improved(2, {name: 0.4}) is low
    assert stopper.improved(3, {name: 0.6}) is not low


def test_early_stopping_without_the_quantity():
    net, X, y = classifier()
    with pytest.raises(ValueError, match="monitor is 'val_loss'; expected one of loss"):
        net.fit(X, y, callbacks=[EarlyStopping("val_loss")])


def test_reduce_lr_on_plateau():
    net, X, y = classifier(lr=0.1)
    rates = []
    record = LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(net.lr))
    reduce = ReduceLROnPlateau("score", factor=0.5, patience=2, min_lr=0.03, mode="min")
    net.fit(X, y, epochs=8, callbacks=[Scripted([1.0] * 8), reduce, record])
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]


def test_csv_logger(tmp_path):
    net, X, y = classifier()
    path = tmp_path / "log.csv"
    history = net.fit(X, y, epochs=2, callbacks=[CSVLogger(path)])
    net.fit(X, y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[0] == ["epoch", "loss"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "1"]
    assert float(rows[2][1]) == history["loss"][1]


def test_tensorboard_says_what_it_needs(tmp_path):
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install tensorboardX"):
            TensorBoard(tmp_path)
    else:
        net, X, y = classifier()
        net.fit(X, y, epochs=2, callbacks=[TensorBoard(tmp_path)])
        assert list(tmp_path.iterdir())


def test_tensorboard_writes_where_it_trains_and_goes_to_workers(tmp_path):
    pytest.importorskip("tensorboardX")
    callback, (net, X, y) = TensorBoard(tmp_path / "runs"), classifier()
    assert not (tmp_path / "runs").exists()
    net.fit(X, y, epochs=1, callbacks=[callback])
    for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        net.fit(X, y, epochs=1, callbacks=[copied])
    bank = NetworkBank([classifier()[0] for _ in range(2)])
    with pytest.raises(ValueError, match="callbacks holds TensorBoard, and all networks would write to the same place"):
        bank.fit(X, y, callbacks=[callback])


def test_time_limit():
    net, X, y = classifier()
    history = net.fit(X, y, epochs=1000, callbacks=[TimeLimit(0.0)])
    assert history.epoch == [1]
    assert "time limit" in history.stopped


def test_stop_from_a_callback():
    def stop(epoch, logs):
        if epoch == 3:
            raise StopTraining("enough")

    net, X, y = classifier()
    history = net.fit(X, y, epochs=10, callbacks=[LambdaCallback(on_epoch_end=stop)])
    assert (history.epoch[-1], history.stopped) == (3, "enough")


def test_diverging_run_stops_with_the_last_good_weights():
    net, X, y = classifier(lr=0.1)
    good = []

    def spoil(epoch):
        good.append(bits(net))
        if epoch == 3:
            net.lr = 1e300

    with pytest.raises(DivergedError, match="diverged in epoch 3"):
        net.fit(X, y, epochs=5, callbacks=[LambdaCallback(on_epoch_begin=spoil)])
    assert len(good) == 3
    assert bits(net) == good[2]


def test_interrupt_returns_the_history():
    net, X, y = classifier()
    started = time.monotonic()
    with ctrl_c_in(0.5):
        history = net.fit(X, y, epochs=10**9)
    assert time.monotonic() - started < 20
    assert "interrupted" in history.stopped
    assert all(np.isfinite(W).all() for W, _ in net.get_weights())
    net.fit(X, y)


def test_verbose(capsys):
    net, X, y = classifier()
    net.fit(X, y, epochs=2, verbose=0)
    net.fit(X, y, epochs=2, verbose=1)  # no terminal here: silence
    assert capsys.readouterr() == ("", "")
    net.fit(X, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("notebook", [False, True])
def test_bar_shows_epochs_loss_metrics_and_time(monkeypatch, notebook):
    tqdm = pytest.importorskip("tqdm")

    class Terminal(io.StringIO):
        def isatty(self):
            return not notebook

    if notebook:
        Terminal.__module__ = "ipykernel.iostream"
    net, X, y = classifier()
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setattr(progress, "DELAY", 0.0)
    slow = LambdaCallback(on_epoch_begin=lambda epoch: time.sleep(0.15))  # the bar is drawn ten times a second
    net.fit(X, y, epochs=4, metrics=["accuracy"], validation_split=0.2, verbose=1, callbacks=[slow])
    shown = terminal.getvalue()
    assert tqdm
    for text in ("3/4", "loss 0.", "val_accuracy", "epoch/s", "<00:0"):
        assert text in shown


def test_short_runs_show_no_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    net, X, y = classifier()
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    net.fit(X, y, epochs=2, verbose=1)
    assert terminal.getvalue().strip() == ""


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_ends", "on_train_batch_begin"])
def test_a_hook_that_is_never_called_is_said(hook):
    net, X, y = classifier()
    own = type("Own", (Callback,), {hook: lambda self, *arguments: None})()
    with pytest.warns(RuntimeWarning, match=f"Own.{hook} is never called; a fit calls on_train_begin"):
        net.fit(X, y, callbacks=[own], verbose=0)


def test_divergence_names_weights_that_are_too_large():
    net, X, y = classifier()
    with pytest.raises(DivergedError, match=r"largest input is .*, the largest weight 1e\+308\."):
        net.fit(X, y, sample_weight=np.full(len(X), 1e308), verbose=0)
