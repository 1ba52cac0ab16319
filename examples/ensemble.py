"""An ensemble that knows what it does not know, and a search for settings: two banks of networks.

The ensemble learns a wave from noisy samples in [-3, 3]. Where there are samples its networks agree;
where there are none their predictions spread. The search then trains a network for each combination
of some settings, all at once, and judges them by samples that none has learnt from.
"""

import argparse
import time

import numpy as np

from fastnn import Adam, Identity, Layer, MSELoss, NetworkBank, NeuralNetwork, Tanh

NOISE = 0.1  # standard deviation
PLACES = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]


def main():
    options = parse_arguments()
    rng = np.random.default_rng(options.seed)
    X = rng.uniform(-3, 3, size=(options.samples, 1))
    y = wave(X) + rng.normal(scale=NOISE, size=X.shape)
    fit = {"epochs": options.epochs, "seed": options.seed, "threads": options.threads}
    NetworkBank([network(0)]).fit(X[:40], y[:40], 1, validation_split=0.5)  # compiles, or loads what is compiled

    bank = NetworkBank([network(options.seed + k) for k in range(options.networks)])
    started = time.perf_counter()
    bank.fit(X, y, bootstrap=True, **fit)
    print(f"{len(bank)} networks, {options.epochs} epochs each: {time.perf_counter() - started:.2f} s")

    mean, spread = bank.predict_mean(np.reshape(PLACES, (-1, 1)), return_std=True)
    print("     x    truth     mean   spread")
    for x, middle, width in zip(PLACES, mean[:, 0], spread[:, 0]):
        print(f"{x:6.1f}{wave(x):9.3f}{middle:9.3f}{width:9.3f}{'' if abs(x) <= 3 else '  (no samples here)'}")
    x_test = rng.uniform(-3, 3, size=(1000, 1))
    alone = np.sqrt(bank.evaluate(x_test, wave(x_test))["loss"]).mean()
    together = np.sqrt(np.mean((bank.predict_mean(x_test) - wave(x_test)) ** 2))
    print(f"error between -3 and 3: {together:.4f} of the mean, {alone:.4f} of one network on average")

    search = NetworkBank.grid(network, seed=options.seed, hidden=[4, 16], lr=[0.0001, 0.001, 0.01], l2=[0.0, 0.01])
    started = time.perf_counter()
    search.fit(X, y, validation_split=0.25, **fit)
    print(f"search among {len(search)} networks: {time.perf_counter() - started:.2f} s; the best and the worst:")
    ranking = search.ranking()
    for k in [*ranking[:3], ranking[-1]]:
        row = search.results[k]
        print(f"  hidden {row['hidden']:2}  lr {row['lr']:<6}  l2 {row['l2']:<4}  val_loss {row['val_loss']:.5f}")


def wave(x):
    """What there is to learn."""
    return np.sin(2 * np.asarray(x))


def network(seed, hidden=16, lr=0.01, l2=0.0):
    """A network with two hidden layers."""
    rng = np.random.default_rng(seed)
    layers = [
        Layer(1, hidden, Tanh(), seed=rng, l2=l2),
        Layer(hidden, hidden, Tanh(), seed=rng, l2=l2),
        Layer(hidden, 1, Identity(), seed=rng, l2=l2),
    ]
    return NeuralNetwork(layers, MSELoss(), lr, Adam(), dtype="float32")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20, help="in the ensemble (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=400, help="to learn from (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=300, help="passes through the samples (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
