"""The pictures of README.md and docs/pictures.md: what fastnn.plot draws, of networks trained here.

It needs matplotlib and scikit-learn, whose bundled digits it learns.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn import plot
from fastnn.sklearn import BankSearchCV, MLPClassifier


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).resolve().parent.parent / "docs" / "pictures"
    parser.add_argument("--out", type=Path, default=folder, help="the folder to write to (default: docs/pictures)")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    moons(options.out, options.seed)
    digits(options.out, options.seed)
    ensemble(options.out, options.seed)
    search(options.out, options.seed)
    three(options.out, options.seed)


def save(out, name, draw, size=(5, 4), panels=1):
    """Let `draw` draw into new axes, and save them."""
    figure = Figure(size, layout="constrained")
    draw(figure.subplots(1, panels))
    figure.savefig(out / name, dpi=100)
    Image.open(out / name).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
        out / name, optimize=True
    )  # small
    print(f"saved {name}")


def moons(out, seed):
    """Two half circles, one in the other: the regions, how they grow, and whether the probabilities are right."""
    X, y = make_moons(300, noise=0.2, random_state=seed)
    X_test, y_test = make_moons(3000, noise=0.2, random_state=seed + 1)
    net = fastnn.mlp([2, 16, 16, 2], "tanh", loss="cross_entropy", lr=0.01, seed=seed)
    movie = plot.RegionMovie(X, y, resolution=100, every=2)
    net.fit(X, y, epochs=24, batch_size=32, seed=seed, callbacks=[movie])
    movie.save(out / "regions.gif", fps=5, size=3.2)
    print("saved regions.gif")
    save(out, "regions.png", lambda ax: plot.decision_regions(net, X, y, ax=ax))
    save(out, "calibration.png", lambda ax: plot.calibration_curve(y_test, net.predict_proba(X_test), ax=ax))


def digits(out, seed):
    """Handwritten digits of 8 x 8 pixels: curves, the network, its weights, and what it takes for what."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = X[order] / 16, y[order]
    net = fastnn.mlp([64, 16, 16, 10], "relu", loss="cross_entropy", lr=0.003, l2=0.001, seed=seed)
    history = net.fit(X[:1400], y[:1400], epochs=80, validation_split=0.2, seed=seed)
    X_test, y_test = X[1400:], y[1400:]
    save(out, "curves.png", lambda ax: plot.learning_curves(history, ax=ax))
    save(out, "network.png", lambda ax: plot.network_diagram(net, ax=ax), (7, 5))
    save(out, "weights.png", lambda ax: plot.weight_images(net, ax=ax))
    save(out, "confusion.png", lambda ax: plot.confusion_matrix(y_test, net.predict_classes(X_test), ax=ax))


def ensemble(out, seed):
    """Values with intervals, from networks that differ by their first weights and their samples."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (400, 1))
    y = np.sin(2 * X) + 0.15 * rng.normal(size=X.shape)
    nets = [fastnn.mlp([1, 32, 1], "tanh", loss="mse", lr=0.01, seed=seed + k) for k in range(10)]
    bank = fastnn.NetworkBank(nets)
    bank.fit(X[:300], y[:300], epochs=150, seed=seed, bootstrap=True)
    noise = np.std(y[:300] - bank.predict_mean(X[:300]))
    mean, spread = bank.predict_mean(X[300:], return_std=True)
    width = 1.645 * np.hypot(noise, spread)  # nine of ten
    save(
        out,
        "intervals.png",
        lambda ax: plot.predicted_against_true(y[300:], mean, low=mean - width, high=mean + width, ax=ax),
    )


def search(out, seed):
    """A search over two settings."""
    X, y = load_digits(return_X_y=True)
    grid = {"learning_rate_init": [0.0003, 0.001, 0.003, 0.01, 0.03], "hidden_layer_sizes": [(4,), (8,), (16,), (32,)]}
    model = MLPClassifier(max_iter=20, n_iter_no_change=20, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # twenty epochs are meant to be few
        found = BankSearchCV(model, grid, cv=3).fit(X / 16, y)
    save(out, "search.png", lambda ax: plot.search_heatmap(found, ax=ax), (6, 4))


def three(out, seed):
    """Side by side: how a network learns two half circles, what it has learnt, and the network itself."""
    X, y = make_moons(300, noise=0.25, random_state=seed)
    net = fastnn.mlp([2, 8, 8, 2], "tanh", loss="cross_entropy", lr=0.02, seed=seed)
    history = net.fit(X, y, epochs=60, batch_size=32, validation_split=0.3, seed=seed)

    def draw(axes):
        curves, regions, diagram = axes
        plot.learning_curves(history, ax=curves)
        plot.decision_regions(net, X, y, ax=regions)
        plot.network_diagram(net, input_names=["x0", "x1"], ax=diagram)

    save(out, "three.png", draw, (12, 3.6), panels=3)


if __name__ == "__main__":
    main()
