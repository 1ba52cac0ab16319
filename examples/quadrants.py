"""The article's second demo: in which quadrants of the plane does a point lie?

A network of 2, 3 and 2 neurons sees random points of [-2, 2] x [-2, 2]. Its first output learns to
be 1 where x and y have the same sign, its second where they have not, and the larger one is its
guess. So few neurons often get stuck: therefore many networks are trained, each from its own random
weights, and the one that gets most of its training points right goes on to the test points. The
last tenth of the training points takes a smaller learning rate, which settles the weights.
"""

import argparse
import importlib.util
import time

import numpy as np

from fastnn import reference
from fastnn.nn import Layer, LeakyReLU, MSELoss, NeuralNetwork  # the article's names and first weights

TEST_POINTS = 1000


def main():
    options = parse_arguments()
    points = np.random.default_rng(options.seed).uniform(-2, 2, (options.points, 2)).T
    same_sign = points[0] * points[1] > 0
    targets = np.array([same_sign, ~same_sign], dtype=float)
    x_test, t_test = points[:, :TEST_POINTS], targets[:, :TEST_POINTS]
    x, t = points[:, TEST_POINTS:], targets[:, TEST_POINTS:]

    started = time.perf_counter()
    train(make_network(options, 0), x[:, :10], t[:, :10], options.last_lr)  # a throwaway
    print(f"compile or load from the cache: {time.perf_counter() - started:.2f} s")

    nets = [make_network(options, number) for number in range(options.networks)]
    started = time.perf_counter()
    for net in nets:
        train(net, x, t, options.last_lr)
    seconds = time.perf_counter() - started
    steps = options.networks * x.shape[1]
    print(f"training: {options.networks} networks, {x.shape[1]:,} steps each, took {seconds:.2f} s")
    print(f"compiled training: {1e9 * seconds / steps:,.0f} ns/step")

    best = max(range(options.networks), key=lambda number: accuracy(nets[number], x, t))
    before, after = make_network(options, best), nets[best]
    print(f"accuracy on the {TEST_POINTS:,} test points before training: {accuracy(before, x_test, t_test):.1%}")
    print(f"accuracy on the {TEST_POINTS:,} test points after training: {accuracy(after, x_test, t_test):.1%}")

    if options.reference_steps > 0:
        count = min(options.reference_steps, x.shape[1])
        compare(make_network(options, best), x[:, :count], t[:, :count], seconds / steps)
    if options.plot:
        plot(options.plot, {"before training": before, "after training": after}, x_test, t_test)


def make_network(options, number):
    """Network `number`: the same at each call, with random weights of its own."""
    rng = np.random.default_rng([options.seed, number])
    layers = [
        Layer(2, options.hidden, LeakyReLU(), seed=rng),
        Layer(options.hidden, 2, LeakyReLU(), seed=rng),
    ]
    return NeuralNetwork(layers, MSELoss(), options.lr)


def train(net, x, t, last_lr):
    """One step a column; the last tenth of the columns at the learning rate `last_lr`."""
    last = x.shape[1] - x.shape[1] // 10
    net.train(x[:, :last], t[:, :last])
    net.lr = last_lr
    net.train(x[:, last:], t[:, last:])


def guess_same_sign(net, x):
    """For each column, whether the first output is the larger one."""
    first, second = net.forward_pass(x)
    return first > second


def accuracy(net, x, t):
    """The share of the columns that the network guesses right."""
    return np.mean(guess_same_sign(net, x) == (t[0] > t[1]))


def compare(net, x, t, compiled):
    """Time the article's loop in NumPy against `compiled` seconds a step, and compare the weights."""
    slow = reference.copy_of(net)
    columns = list(zip(x.T[:, :, np.newaxis].copy(), t.T[:, :, np.newaxis].copy()))  # pairs (2, 1), (2, 1)
    started = time.perf_counter()
    for col, target in columns:
        slow.train_column(col, target)
    seconds = time.perf_counter() - started
    per_step = seconds / len(columns)
    print(f"the article's loop in NumPy: {len(columns):,} steps in {seconds:.2f} s, {1e9 * per_step:,.0f} ns/step")
    print(f"compiled training is {per_step / compiled:,.0f} times as fast")

    net.train(x, t)
    pairs = [pair for a, b in zip(net._layers, slow._layers) for pair in ((a._W, b._W), (a._b, b._b))]
    difference = max(np.abs(a - b).max() for a, b in pairs)
    print(f"after the same {len(columns):,} steps their weights differ by at most {difference:.1e}")


def plot(path, nets, x, t):
    """Save one picture with the guesses of each of the named networks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    for axes, (name, net) in zip(figure.subplots(1, len(nets)), nets.items()):
        guess = guess_same_sign(net, x)
        axes.scatter(*x[:, guess], s=9, color="tab:blue", label="same sign")
        axes.scatter(*x[:, ~guess], s=9, color="tab:orange", label="different signs")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=f"{name}: {accuracy(net, x, t):.1%} right", xlabel="x", ylabel="y", aspect="equal")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, title="the network's guess")
    figure.savefig(path)
    print(f"saved {path}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--points", type=int, default=100_000, help=f"the first {TEST_POINTS} are for testing (default: %(default)s)"
    )
    parser.add_argument("--hidden", type=int, default=3, help="neurons in the middle (default: %(default)s)")
    parser.add_argument("--networks", type=int, default=50, help="how many to choose from (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (default: %(default)s)")
    parser.add_argument(
        "--last-lr", type=float, default=0.0005, help="that of the last tenth of the points (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of points and weights (default: %(default)s)")
    parser.add_argument(
        "--reference-steps",
        type=int,
        default=5000,
        help="steps of the article's loop in NumPy, for comparison; 0: none (default: %(default)s)",
    )
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument(
        "--plot", metavar="FILE", help="where to save a picture (default: quadrants.png, if matplotlib is installed)"
    )
    pictures.add_argument("--no-plot", action="store_true", help="save no picture")
    options = parser.parse_args()

    if options.points < TEST_POINTS + 10:
        parser.error(f"--points is {options.points}; expected at least {TEST_POINTS + 10}")
    if options.networks < 1:
        parser.error(f"--networks is {options.networks}; expected at least 1")
    has_matplotlib = importlib.util.find_spec("matplotlib") is not None
    if options.plot and not has_matplotlib:
        parser.error('--plot needs matplotlib: pip install "fastnn[examples]"')
    if has_matplotlib and not options.no_plot and options.plot is None:
        options.plot = "quadrants.png"
    return options


if __name__ == "__main__":
    main()
