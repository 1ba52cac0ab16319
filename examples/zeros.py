"""The article's first demo: a 2-4-4-3 network learns to return zeros, whatever comes in."""

import argparse

import numpy as np

from fastnn import Layer, LeakyReLU, MSELoss, NeuralNetwork

SAMPLES = 100  # that the loss is summed over


def main():
    options = parse_arguments()
    rng = np.random.default_rng(options.seed)
    net = NeuralNetwork(
        [
            Layer(2, 4, LeakyReLU(), init="article", seed=rng),
            Layer(4, 4, LeakyReLU(), init="article", seed=rng),
            Layer(4, 3, LeakyReLU(), init="article", seed=rng),
        ],
        MSELoss(),
        options.lr,
    )
    x_test = rng.normal(size=(2, SAMPLES))
    x = rng.normal(size=(2, options.steps))

    before = summed_loss(net, x_test)
    net.train(x, np.zeros((3, options.steps)))  # one step a column, as in a loop over the columns
    after = summed_loss(net, x_test)

    print(f"loss summed over {SAMPLES} samples before training: {before:.3g}")
    print(f"loss summed over {SAMPLES} samples after {options.steps:,} steps: {after:.3g}")
    print(f"it fell {before / after:,.0f}-fold")


def summed_loss(net, x):
    """The sum of the losses of the columns of x, where zeros are expected."""
    columns = x.shape[1]
    return columns * net.loss(net.forward_pass(x), np.zeros((3, columns)))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="samples to train on (default: %(default)s)")
    parser.add_argument(
        "--lr",
        type=float,
        default=0.5,
        help="learning rate (default: %(default)s; with the article's 0.001 some seeds need a million steps)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
