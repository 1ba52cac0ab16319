"""The article's first demo: a 2-4-4-3 network learns to return zeros, whatever comes in.

The loop, the learning rate and the measure are the article's: the loss of the last output, summed over 100
samples. For about half of all seeds this output begins below zero, where LeakyReLU's slope is 0.1, and has
hardly moved after 10,000 steps; so it is in the article's own code. A larger `--lr` helps there.
"""

import argparse

import numpy as np

from fastnn.nn import Layer, LeakyReLU, MSELoss, NeuralNetwork

SAMPLES = 100  # that the loss is summed over


def main():
    options = parse_arguments()
    rng = np.random.default_rng(options.seed)
    net = NeuralNetwork(
        [
            Layer(2, 4, LeakyReLU(), seed=rng),
            Layer(4, 4, LeakyReLU(), seed=rng),
            Layer(4, 3, LeakyReLU(), seed=rng),
        ],
        MSELoss(),
        options.lr,
    )
    t = np.zeros(shape=(3, 1))

    before = summed_loss(net, rng, t)
    for _ in range(options.steps):
        net.train(rng.normal(size=(2, 1)), t)
    after = summed_loss(net, rng, t)

    print(f"loss summed over {SAMPLES} samples before training: {before:.3g}")
    print(f"loss summed over {SAMPLES} samples after {options.steps:,} steps: {after:.3g}")
    print(f"it fell {before / after:,.0f}-fold")


def summed_loss(net, rng, t):
    """The sum of the losses of the last output for random samples."""
    loss = 0
    for _ in range(SAMPLES):
        x = rng.normal(size=(2, 1))
        loss += net.loss(net.forward_pass(x)[-1], t)
    return loss


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="samples to train on (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
