"""Pictures: what is in their pixels, lines and images, and what is refused."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from fastnn import History, Layer, NetworkBank, NeuralNetwork, mlp, plot

BLUE, ORANGE = "#0072B2", "#E69F00"


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    """No picture is shown, no setting changed, and no figure made unless a test wants one."""
    monkeypatch.setattr(pyplot, "show", lambda *args, **more: pytest.fail("a picture was shown"))
    pyplot.switch_backend("Agg")
    pyplot.close("all")
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    figures = pyplot.get_fignums()
    pyplot.close("all")
    assert not figures


def axes(**more):
    return Figure(dpi=100, **more).subplots()


def pixels(ax):
    """The rendered figure, (height, width, 3), its first row on top."""
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].astype(int)


def pixel(ax, x, y):
    """The colour at a point of the axes."""
    image = pixels(ax)
    column, row = ax.transData.transform((x, y))
    return image[image.shape[0] - 1 - int(row), int(column)]


def hue(name, strength):
    return 255 * (1 - strength * (1 - np.array(to_rgb(name))))


def separator(weight=5.0):
    """A network that says class 1 where input 0 is above 0."""
    layer = Layer(2, 2, "identity")
    layer.weights, layer.biases = [[0.0, 0.0], [weight, 0.0]], [[0.0], [0.0]]
    return NeuralNetwork([layer], "cross_entropy", 0.1)


def history(**columns):
    made = History()
    for k, row in enumerate(zip(*columns.values())):
        made.add(k + 1, dict(zip(columns, row)))
    return made


# --- learning curves --------------------------------------------------------------------------


def test_the_best_epoch_is_marked():
    ax = plot.learning_curves(history(loss=[3.0, 2, 1], val_loss=[5.0, 3, 4]), ax=axes())
    assert [line.get_ydata()[0] for line in ax.lines if line.get_label() in ("loss", "val_loss")] == [3, 5]
    marked = next(line for line in ax.lines if line.get_label().startswith("best"))
    assert marked.get_xydata().tolist() == [[2, 3]]
    assert np.abs(pixel(ax, 2, 3) - 51).max() < 5  # the mark is dark


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("val_accuracy", "auto", 3), ("val_accuracy", "min", 1), ("loss", "auto", 2), ("own", "max", 1)],
)
def test_the_best_epoch_is_that_of_the_monitor(monitor, mode, best):
    made = history(loss=[2.0, 1, np.nan], val_accuracy=[0.1, 0.2, 0.3], own=[9.0, 8, 7])
    ax = plot.learning_curves(made, monitor=monitor, mode=mode, ax=axes())
    assert f"best: epoch {best}," in " ".join(ax.get_legend_handles_labels()[1])


@pytest.mark.parametrize(
    ("made", "more", "error", "message"),
    [
        (History(), {}, ValueError, "history is empty"),
        ([1.0, 0.5], {}, TypeError, r"history is \[1.0, 0.5\]; expected an object of History"),
        (history(loss=[np.nan, np.inf]), {}, ValueError, "no finite number"),
        (history(loss=[1.0]), {"monitor": "val_loss"}, KeyError, "'val_loss' is not in the history, which has loss"),
        (history(loss=[1.0], own=[1.0]), {"monitor": "own"}, ValueError, "mode='min' or"),
        (history(loss=[1.0]), {"mode": "least"}, ValueError, "mode is 'least'; expected 'auto', 'min' or 'max'"),
        (history(loss=[1.0]), {"ax": 3}, TypeError, "ax is 3; expected the Axes of matplotlib"),
    ],
)
def test_curves_refuse(made, more, error, message):
    with pytest.raises(error, match=message):
        plot.learning_curves(made, **more)


# --- decision regions -------------------------------------------------------------------------


def test_regions_have_the_colours_of_the_classes():
    ax = plot.decision_regions(separator(), bounds=(-1, 1, -1, 1), ax=axes())
    assert np.abs(pixel(ax, -0.9, 0) - hue(BLUE, 0.65)).max() <= 2
    assert np.abs(pixel(ax, 0.9, -0.9) - hue(ORANGE, 0.65)).max() <= 2
    assert pixel(ax, 0.03, 0).min() > pixel(ax, 0.9, 0).min()  # pale where it is unsure
    assert ax.get_xlim() == ax.get_ylim() == (-1, 1)


def test_up_is_up():
    net = separator()
    net.layers[0].weights = [[0.0, 0.0], [0.0, 50.0]]
    ax = plot.decision_regions(net, bounds=(-1, 1, -1, 1), ax=axes())
    assert np.abs(pixel(ax, 0.0, 0.5) - hue(ORANGE, 0.65)).max() <= 2


def test_samples_have_the_colours_of_their_classes():
    ax = plot.decision_regions(separator(), [[-1.0, 0], [1, 0], [1, 1]], [0, 1, 0], ax=axes())
    assert np.abs(pixel(ax, 1, 1) - hue(BLUE, 1)).max() <= 2  # one on the wrong side
    assert ax.get_legend_handles_labels()[1] == ["0", "1"]
    left, right = ax.get_xlim()
    assert left < -1
    assert right > 1


def test_a_network_without_probabilities_has_even_regions():
    net = mlp([2, 2], loss="mse", seed=0)
    colours = np.unique(
        plot.decision_regions(net, bounds=(-1, 1, -1, 1), ax=axes()).images[0].get_array().reshape(-1, 3), axis=0
    )
    assert len(colours) == 2


@pytest.mark.parametrize("kind", ["network", "bank", "one output"])
def test_all_that_fastnn_classifies_with_is_drawn(kind):
    if kind == "one output":
        model = mlp([2, 1], loss="bce", seed=0)
    else:
        nets = [mlp([2, 4, 2], loss="cross_entropy", seed=seed) for seed in range(3)]
        model = nets[0] if kind == "network" else NetworkBank(nets)
    plane = np.array([[0.5, 0.5], [-0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]])
    ax = plot.decision_regions(model, bounds=(-1, 1, -1, 1), resolution=2, ax=axes())
    found = ax.images[0].get_array().astype(int)
    for (x, y), label in zip(plane, model.predict_classes(plane)):
        red, _, blue = found[int(y > 0), int(x > 0)]
        assert (red > blue) == (label == 1)


def test_estimators_with_words_for_classes_are_drawn():
    linear = pytest.importorskip("sklearn.linear_model")
    X = np.random.default_rng(0).normal(size=(50, 2))
    words = np.where(X[:, 0] > 0, "yes", "no")
    for model in (linear.LogisticRegression(), linear.RidgeClassifier()):  # the second has no probabilities
        ax = plot.decision_regions(model.fit(X, words), X, words, ax=axes())
        assert ax.get_legend_handles_labels()[1] == ["no", "yes"]
        image = ax.images[0].get_array().astype(int)
        assert image[100, 0, 2] > image[100, 0, 0]
        assert image[100, -1, 2] < image[100, -1, 0]
    with pytest.raises(
        ValueError, match=r"y\[0\] is 'maybe'; expected one of the classes of the model, \['no', 'yes'\]"
    ):
        plot.decision_regions(model, X[:1], ["maybe"])


def test_estimators_that_know_column_names_are_drawn_without_a_warning():
    linear, pandas = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["age", "income"])
    model = linear.LogisticRegression().fit(X, X["age"] > 0)
    ax = plot.decision_regions(model, X, X["age"] > 0, ax=axes())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "income")


X2 = [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("model", "arguments", "more", "error", "message"),
    [
        (mlp([3, 2], loss="cross_entropy"), (X2,), {}, ValueError, "model takes 3 inputs; expected 2"),
        (mlp([2, 2], loss="bce"), (X2,), {}, ValueError, "model gives 2 labels for each sample"),
        ("net", (X2,), {}, TypeError, "model is 'net'; expected an object of NeuralNetwork"),
        (None, (X2,), {}, TypeError, "model is None"),
        (separator(), (), {}, ValueError, "neither X nor bounds"),
        (separator(), ([[0.0, np.nan]],), {}, ValueError, r"X\[0, 1\] is nan"),
        (separator(), ([[0.0, 1.0, 2.0]],), {}, ValueError, r"shape \(1, 3\); expected \(n, 2\)"),
        (separator(), (np.empty((0, 2)),), {}, ValueError, "at least one row"),
        (separator(), ([["a", "b"]],), {}, TypeError, "expected numbers"),
        (separator(), (X2, [0]), {}, ValueError, "y has 1 labels but X has 2 rows"),
        (separator(), (X2, [0, 2]), {}, ValueError, r"y\[1\] is 2; expected one of the classes of the model, \[0, 1\]"),
        (separator(), (X2, [0, np.nan]), {}, ValueError, r"y\[1\] is nan"),
        (separator(), (X2, [[1, 0], [0, 1]]), {}, ValueError, r"np.argmax\(y, axis=1\)"),
        (separator(), (), {"bounds": (1, 0, 0, 1)}, ValueError, "left < right"),
        (separator(), (), {"bounds": (0, 1)}, ValueError, r"expected \(4,\)"),
        (separator(), (X2,), {"resolution": 0}, ValueError, "resolution is 0; expected a positive integer"),
    ],
)
def test_regions_refuse(model, arguments, more, error, message):
    with pytest.raises(error, match=message):
        plot.decision_regions(model, *arguments, **more)


def test_a_network_that_diverged_has_no_regions():
    net = separator()
    net.layers[0].weights[0, 0] = np.nan
    with pytest.raises(ValueError, match="probabilities that are not finite"):
        plot.decision_regions(net, X2)


def test_missing_entries_of_all_kinds_are_named():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"y\[1\] is <NA>; expected a class label"):
        plot.decision_regions(separator(), X2, np.array([0, pandas.NA], object))
    with pytest.raises(ValueError, match=r"X\[1, 0\] is nan"):
        plot.decision_regions(separator(), np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 3.0))


def test_regressors_are_refused():
    linear = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(TypeError, match="without classes_"):
        plot.decision_regions(linear.LinearRegression().fit(X2, [0.0, 1.0]), X2)


# --- their growth -----------------------------------------------------------------------------


def test_a_movie_has_the_images_of_its_epochs(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    movie = plot.RegionMovie(X, y, resolution=20, every=10)
    net = mlp([2, 2], loss="cross_entropy", lr=0.05, seed=0)
    alone = mlp([2, 2], loss="cross_entropy", lr=0.05, seed=0)
    net.fit(X, y, epochs=30, seed=0, callbacks=[movie])
    alone.fit(X, y, epochs=30, seed=0)
    assert np.array_equal(net.get_weights()[0][0], alone.get_weights()[0][0])  # watching changes nothing
    assert movie.epochs == [1, 10, 20, 30]
    last = plot.decision_regions(net, X, y, resolution=20, ax=axes())
    assert np.array_equal(movie.draw(ax=axes()).images[0].get_array(), last.images[0].get_array())
    assert movie.draw(0, axes()).get_title().startswith("epoch 1, loss 0.")

    movie.save(tmp_path / "regions.gif", fps=5)
    with Image.open(tmp_path / "regions.gif") as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(3)
        assert gif.info["duration"] >= 2000
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - first).mean() > 1
        assert first.shape == (320, 320, 3)
    net.fit(X, y, epochs=2, seed=0, callbacks=[movie])
    assert movie.epochs == [1]  # a new fit, a new movie


def test_a_movie_refuses(tmp_path):
    movie = plot.RegionMovie(X2, [0, 1])
    with pytest.raises(ValueError, match="no image to save"):
        movie.save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="expected a file that ends"):
        movie.save(tmp_path / "a.mp4")
    with pytest.raises(IndexError, match="there are 0 images"):
        movie.draw()
    with pytest.raises(ValueError, match="every is 0"):
        plot.RegionMovie(X2, every=0)
    with pytest.raises(ValueError, match="model takes 3 inputs"):
        mlp([3, 2], loss="cross_entropy").fit([[1.0, 2, 3]], [0], callbacks=[movie])
    assert not list(tmp_path.iterdir())


# --- the diagram ------------------------------------------------------------------------------


def test_a_line_shows_sign_and_size_of_its_weight():
    layer = Layer(2, 1, "identity")
    layer.weights = [[1.0, -0.25]]
    ax = plot.network_diagram(NeuralNetwork([layer], "mse", 0.1), ax=axes(figsize=(6, 6)))
    lines = ax.collections[0]
    assert lines.get_array().tolist() == [-0.25, 1.0]  # the strongest is drawn last
    thin, thick = lines.get_linewidths()
    assert thick > 2 * thin
    (x0, y0), (x1, y1) = lines.get_segments()[1]
    assert (x0, x1) == (0, 1)
    red, _, blue = pixel(ax, 0.5, (y0 + y1) / 2)
    assert red > blue + 50
    (_, y0), (_, y1) = lines.get_segments()[0]
    assert y0 == -0.5  # input 1 stands below input 0
    assert lines.cmap(lines.norm(-1.0))[2] > 0.3


def test_large_layers_are_shown_by_their_strongest():
    net = mlp([784, 16, 16, 10], seed=0)
    net.layers[0].weights *= 0.01
    strong = [3, 77, 500]
    net.layers[0].weights[:, strong] = 1.0
    ax = plot.network_diagram(net, most=3, ax=axes())
    assert [len(lines.get_segments()) for lines in ax.collections[:3]] == [9, 9, 9]
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if word in ("3", "77", "500")] == ["3", "77", "500"]
    assert "3 of 784\ninputs" in words
    assert words.count("\u22ee") == 4


@pytest.mark.parametrize("size", [(7, 5), (10, 7)])
def test_the_words_of_the_largest_diagram_do_not_overlap(size):
    ax = plot.network_diagram(
        mlp([784, 16, 16, 10], seed=0, dropout=0.2, standardize=True), ax=axes(figsize=size, layout="constrained")
    )
    pixels(ax)
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]
    assert all(box.x0 >= 0 and box.y1 <= ax.figure.bbox.height for box in boxes)


def test_a_diagram_has_names():
    net = mlp([2, 3, 2], seed=0, dropout=0.5)
    net.feature_names = ["age", "income"]
    words = [text.get_text() for text in plot.network_diagram(net, output_names=["no", "yes"], ax=axes()).texts]
    assert {"age", "income", "no", "yes", "2\ninputs", "3\nReLU\nDropout"} <= set(words)
    with pytest.raises(ValueError, match=r"input_names is \['a'\]; expected a list of 2 names"):
        plot.network_diagram(net, input_names=["a"])
    with pytest.raises(ValueError, match="output_names is 'ab'; expected a list of 2 names"):
        plot.network_diagram(net, output_names="ab")


def test_a_network_of_zeros_is_drawn():
    net = mlp([2, 2], seed=0)
    net.layers[0].weights[:] = 0
    assert plot.network_diagram(net, ax=axes()).collections[0].get_array().tolist() == [0] * 4
    assert plot.weight_images(net, (1, 2), ax=axes()).images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("draw", [plot.network_diagram, plot.weight_images])
def test_weights_that_are_not_finite_are_refused(draw):
    net = mlp([4, 2, 1], seed=0)
    net.layers[0].weights[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"weights of layers\[0\] are not all finite"):
        draw(net)
    with pytest.raises(TypeError, match="net is 3; expected an object of NeuralNetwork"):
        draw(3)


# --- weights as images ------------------------------------------------------------------------


def test_each_image_is_a_neurons_weights():
    net = mlp([6, 3, 1], seed=0)
    net.layers[0].weights = np.arange(18.0).reshape(3, 6)
    ax = plot.weight_images(net, (2, 3), columns=2, ax=axes())
    shown = ax.images[0].get_array().filled(np.nan)
    assert np.array_equal(shown[:2, :3], [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(shown[:2, 4:], [[6, 7, 8], [9, 10, 11]])
    assert np.array_equal(shown[3:, :3], [[12, 13, 14], [15, 16, 17]])
    assert np.isnan(shown[2]).all()
    assert np.isnan(shown[3:, 4:]).all()
    assert ax.images[0].get_clim() == (-17, 17)  # 0 is white
    most = plot.weight_images(net, (2, 3), most=1, ax=axes()).images[0].get_array()
    assert np.array_equal(most, [[12, 13, 14], [15, 16, 17]])


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (None, ValueError, r"6 inputs are no square; expected shape=\(height, width\)"),
        ((2, 2), ValueError, r"shape is \(2, 2\), 4 numbers; expected 6"),
        ((6,), ValueError, r"expected \(height, width\)"),
        (6, TypeError, r"shape is 6; expected \(height, width\)"),
        ((-2, -3), ValueError, r"shape\[0\] is -2"),
        ((2.0, 3), TypeError, r"shape\[0\] is 2.0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, error, message):
    with pytest.raises(error, match=message):
        plot.weight_images(mlp([6, 3, 1], seed=0), shape)


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [False, True])
def test_the_confusion_matrix_is_scikit_learns(words):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    if words:
        true, predicted = (np.array(["d", "a", "c", "b"])[one] for one in (true, predicted))
    ax = plot.confusion_matrix(true, predicted, ax=axes())
    assert np.array_equal(ax.images[0].get_array(), metrics.confusion_matrix(true, predicted))
    shares = plot.confusion_matrix(true, predicted, normalize=True, ax=axes()).images[0].get_array()
    assert np.allclose(shares, metrics.confusion_matrix(true, predicted, normalize="true"))


def test_the_cells_say_their_numbers_in_the_order_of_the_classes():
    ax = plot.confusion_matrix([0, 0, 1], [0, 1, 1], classes=[2, 1, 0], ax=axes())
    assert ax.images[0].get_array().tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert {(text.get_position(), text.get_text()) for text in ax.texts} == {
        ((1, 1), "1"),
        ((1, 2), "1"),
        ((2, 2), "1"),
    }
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "1", "0"]
    dark, light = pixel(ax, 0.3, -0.3), pixel(ax, 1.3, 0.7)
    assert light.sum() > dark.sum() + 200


@pytest.mark.parametrize("count", [26, 300])
def test_many_classes_have_legible_names(count):
    every = [f"c{k:03}" for k in range(count)]
    ax = plot.confusion_matrix(every, every, ax=axes(figsize=(8, 8)))
    pixels(ax)
    boxes = [tick.get_window_extent() for tick in ax.get_yticklabels()]
    assert not [1 for a, b in zip(boxes, boxes[1:]) if a.overlaps(b)]
    assert not ax.texts


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (([0, 1], [0]), {}, "y_pred has 1 rows but y_true 2"),
        (([], []), {}, r"y_true is an array of shape \(0,\)"),
        (([0, 1], [0, 2]), {"classes": [0, 1]}, r"y_pred\[1\] is 2; expected one of classes, \[0, 1\]"),
        (([0, 1], [0, 1]), {"classes": [0, 0, 1]}, "a label twice"),
        (([0, np.nan], [0, 1]), {}, r"y_true\[1\] is nan"),
        (([0, None], [0, 1]), {}, r"y_true\[1\] is None"),
        (([[1, 0], [0, 1]], [0, 1]), {}, r"np.argmax\(y_true, axis=1\)"),
    ],
)
def test_matrices_refuse(arguments, more, message):
    with pytest.raises(ValueError, match=message):
        plot.confusion_matrix(*arguments, **more)


def test_intervals_that_miss_are_told_from_those_that_hold():
    ax = plot.predicted_against_true(
        [[0.0], [1.0], [2.0]], [0.1, 1.5, 2.1], low=[-1, 1.2, 2], high=[1, 2, 3], ax=axes()
    )
    assert ax.get_legend_handles_labels()[1] == [
        "predicted = true",
        "2 of 3 intervals hold the truth",
        "1 of 3 miss it",
    ]
    blue, orange = pixel(ax, 0, 0.1), pixel(ax, 1, 1.5)
    assert blue[2] > blue[0] + 50
    assert orange[0] > orange[2] + 50
    assert ax.get_title().startswith("R2 0.865, mean absolute error 0.233")


def test_values_without_intervals_are_points_alone():
    ax = plot.predicted_against_true([1.0, 1.0], [1.0, 2.0], ax=axes())  # no spread, no R2
    assert ax.get_title() == "mean absolute error 0.5"
    assert len(ax.collections) == 1
    assert ax.collections[0].get_offsets().tolist() == [[1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (([1.0], [1.0, 2.0]), {}, "y_pred has 2 rows but y_true 1"),
        (([1.0], [np.inf]), {}, r"y_pred\[0\] is inf"),
        (([1.0], [1.0]), {"low": [0.0]}, "high is None; expected both"),
        (([1.0], [1.0]), {"low": [2.0], "high": [1.0]}, r"low\[0\] is 2.0 but high\[0\] is 1.0"),
        (([1.0], [1.0]), {"low": [np.nan], "high": [1.0]}, r"low\[0\] is nan"),
        (([[1.0, 2.0]], [1.0]), {}, r"y_true is an array of shape \(1, 2\); expected \(n,\)"),
    ],
)
def test_values_refuse(arguments, more, message):
    with pytest.raises(ValueError, match=message):
        plot.predicted_against_true(*arguments, **more)


@pytest.mark.parametrize("columns", [1, 2])
def test_the_calibration_curve_is_scikit_learns(columns):
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(0)
    p = rng.uniform(size=500)
    happened = (rng.uniform(size=500) < p**2).astype(int)
    given = p if columns == 1 else np.stack([1 - p, p], axis=1)
    said_seen = plot.calibration_curve(happened, given, bins=7, ax=axes()).lines[1].get_xydata()
    seen, said = calibration.calibration_curve(happened, p, n_bins=7)
    assert np.allclose(said_seen, np.stack([said, seen], axis=1))


def test_of_many_classes_the_likeliest_counts():
    p = [[0.6, 0.3, 0.1], [0.1, 0.6, 0.3]]
    ax = plot.calibration_curve([0, 2], p, ax=axes())
    assert ax.lines[1].get_xydata().tolist() == [[0.6, 0.5]]
    assert "calibration error 0.100" in ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (([0, 1], [0.5]), {}, "probabilities has 1 rows but y_true 2"),
        (([0, 1], [0.5, 3.0]), {}, "probabilities holds 3; expected 0 to 1: of logits"),
        (([0, 1], [-0.5, 0.5]), {}, "probabilities holds -0.5"),
        (([0, 1], [np.nan, 0.5]), {}, r"probabilities\[0\] is nan"),
        (([0, 3], [[0.5, 0.5], [0.5, 0.5]]), {}, r"y_true\[1\] is 3; expected one of the classes"),
        (([0, 1], [0.5, 0.5]), {"bins": 0}, "bins is 0"),
    ],
)
def test_calibration_refuses(arguments, more, message):
    with pytest.raises(ValueError, match=message):
        plot.calibration_curve(*arguments, **more)


# --- searches ---------------------------------------------------------------------------------


def test_a_search_of_scikit_learn_is_a_heat_map():
    selection, linear = pytest.importorskip("sklearn.model_selection"), pytest.importorskip("sklearn.linear_model")
    X = np.random.default_rng(0).normal(size=(60, 3))
    grid = {"alpha": [0.1, 10.0, 1000.0], "fit_intercept": [True, False]}
    search = selection.GridSearchCV(linear.Ridge(), grid, cv=3).fit(X, X @ [1.0, 2.0, 3.0] + 5)
    ax = plot.search_heatmap(search, ax=axes())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("alpha", "fit_intercept")
    shown, words = ax.images[0].get_array(), [tick.get_text() for tick in ax.get_yticklabels()]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.1", "10", "1000"]
    for some, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
        assert shown[words.index(str(some["fit_intercept"])), grid["alpha"].index(some["alpha"])] == score
    frame = ax.patches[0]
    assert shown[round(frame.get_y() + 0.47), round(frame.get_x() + 0.47)] == search.best_score_
    with pytest.raises(TypeError, match="expected a fitted search, which has cv_results_"):
        plot.search_heatmap(selection.GridSearchCV(linear.Ridge(), grid))


@pytest.mark.filterwarnings("ignore:.*hasn't converged")
def test_a_bank_search_is_a_heat_map():
    estimators = pytest.importorskip("fastnn.sklearn")
    X = np.random.default_rng(0).normal(size=(60, 2))
    grid = {"learning_rate_init": [0.001, 0.1], "hidden_layer_sizes": [(2,), (4,), (8,)]}
    model = estimators.MLPClassifier(max_iter=2, n_iter_no_change=2, random_state=0)
    search = estimators.BankSearchCV(model, grid, cv=2).fit(X, X[:, 0] > 0)
    shown = plot.search_heatmap(search, ax=axes()).images[0].get_array()
    assert sorted(shown.ravel()) == sorted(search.cv_results_["mean_test_score"])


def test_a_cell_shows_the_best_over_the_other_settings():
    params = [{"a": a, "b": b, "c": c} for a in (1, 2, 3) for b in (1, 2) for c in ("x", "y")]
    ax = plot.search_heatmap({"params": params, "mean_test_score": np.arange(12)}, "a", "b", ax=axes())
    assert ax.images[0].get_array().tolist() == [[1, 5, 9], [3, 7, 11]]
    assert ax.get_title() == "best over c"


def test_failed_and_untried_cells_are_grey():
    results = {"params": [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 2, "b": 1}], "mean_test_score": [0.5, np.nan, 0.7]}
    ax = plot.search_heatmap(results, ax=axes())
    assert ax.images[0].get_array().mask.tolist() == [[False, False], [True, True]]
    assert pixel(ax, 0, 1).tolist() == [221, 221, 221]


def test_random_numbers_share_bins():
    rng = np.random.default_rng(0)
    params = [{"lr": 10 ** rng.uniform(-4, -1), "size": int(rng.integers(4, 400))} for _ in range(50)]
    score = np.array([-abs(np.log10(some["lr"]) + 2) for some in params])
    ax = plot.search_heatmap({"params": params, "mean_test_score": score}, x="lr", ax=axes())
    assert ax.images[0].get_array().shape == (8, 8)
    assert np.nanmax(ax.images[0].get_array()) == score.max()
    best = int(ax.patches[0].get_x() + 0.48)
    assert best in (4, 5)  # of eight from 1e-4 to 1e-1


def test_one_setting_is_one_row():
    results = {"params": [{"layers": (4,)}, {"layers": (4, 4)}], "mean_test_score": [0.1, 0.2]}
    ax = plot.search_heatmap(results, ax=axes())
    assert ax.images[0].get_array().tolist() == [[0.1, 0.2]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["(4,)", "(4, 4)"]


@pytest.mark.parametrize(
    ("results", "more", "error", "message"),
    [
        (3, {}, TypeError, "search is 3; expected a fitted search"),
        ({"params": [{"a": 1}], "mean_test_r2": [1]}, {}, ValueError, "several scores, r2"),
        ({"params": [{"a": 1}, {"a": 2}], "mean_test_score": [np.nan, np.nan]}, {}, ValueError, "no finite score"),
        (
            {"params": [{"a": 1}, {"a": 1}], "mean_test_score": [0, 1]},
            {},
            ValueError,
            "no setting of the search varies",
        ),
        (
            {"params": [{"a": 1}, {"a": 2}], "mean_test_score": [0, 1]},
            {"x": "b"},
            ValueError,
            "x is 'b'; expected one of",
        ),
    ],
)
def test_searches_refuse(results, more, error, message):
    with pytest.raises(error, match=message):
        plot.search_heatmap(results, **more)


# --- figures ----------------------------------------------------------------------------------


def test_without_axes_the_current_ones_are_taken_if_they_are_empty():
    _, (left, right) = pyplot.subplots(1, 2)
    pyplot.sca(left)
    assert plot.confusion_matrix([0, 1], [0, 1]) is left
    pyplot.sca(right)
    assert plot.predicted_against_true([0, 1], [0, 1]) is right
    third = plot.confusion_matrix([0, 1], [0, 1])  # there is something on the current ones
    assert third not in (left, right)
    assert pyplot.gca() is not right
    assert len(pyplot.get_fignums()) == 2
    pyplot.close("all")


def test_matplotlib_is_imported_when_a_picture_is_drawn_and_pyplot_not_even_then():
    code = (
        "import sys; import fastnn; from fastnn import plot; assert 'matplotlib' not in sys.modules\n"
        "from matplotlib.figure import Figure\n"
        "plot.network_diagram(fastnn.mlp([2, 2], seed=0), ax=Figure().subplots())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None; from fastnn import plot\n"
        "try: plot.confusion_matrix([0], [0])\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout == "fastnn.plot.confusion_matrix needs matplotlib: pip install matplotlib\n"
