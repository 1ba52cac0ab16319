"""A network learns to read handwritten digits: scikit-learn's bundled ones, or MNIST."""

import argparse
import time

import digit_data
import numpy as np

import fastnn
from fastnn import CrossEntropyLoss, Identity, Layer, NeuralNetwork

ACTIVATIONS = ["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Sigmoid", "Tanh"]


def main():
    options, digits = digit_data.load(make_parser())

    started = time.perf_counter()
    throwaway = make_network(options, digits.x.shape[0])
    throwaway.train(digits.x[:, :2], digits.t[:2], batch_size=2, shuffle=True)
    print(f"compile or load from the cache: {time.perf_counter() - started:.2f} s")

    net = make_network(options, digits.x.shape[0])
    seconds = 0.0
    for epoch in range(options.epochs):
        started = time.perf_counter()
        loss = net.train(digits.x, digits.t, batch_size=options.batch, shuffle=True, seed=options.seed + epoch)
        seconds += time.perf_counter() - started
        print(f"epoch {epoch + 1}: mean loss {loss:.4f}")
    steps = options.epochs * -(-digits.t.size // options.batch)  # the last batch may be short
    print(f"training: {steps:,} steps in {seconds:.2f} s, {1e6 * seconds / max(steps, 1):.1f} us/step")

    answers = net.forward_pass(digits.x_test).argmax(axis=0)
    print(f"test accuracy: {np.mean(answers == digits.t_test):.2%}")
    print("confusion matrix (a row for each digit, a column for each answer):")
    print_matrix(confusion_matrix(digits.t_test, answers))


def make_network(options, pixels):
    """Pixels, one hidden layer, ten logits."""
    rng = np.random.default_rng(options.seed)
    activation = getattr(fastnn, options.activation)()
    layers = [Layer(pixels, options.hidden, activation, seed=rng), Layer(options.hidden, 10, Identity(), seed=rng)]
    return NeuralNetwork(layers, CrossEntropyLoss(), options.lr, dtype=options.dtype)


def confusion_matrix(classes, answers):
    """How often each class got each answer, (10, 10)."""
    return np.bincount(10 * classes + answers, minlength=100).reshape(10, 10)


def print_matrix(matrix):
    """Print a table of counts with a heading for each row and column."""
    width = len(str(matrix.max())) + 2
    print(" " * 4 + "".join(f"{column:{width}}" for column in range(10)))
    for digit, row in enumerate(matrix):
        print(f"{digit:4}" + "".join(f"{count:{width}}" for count in row))


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    digit_data.add_arguments(parser)
    parser.add_argument("--hidden", type=int, default=128, help="neurons in the hidden layer (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="passes through the digits (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="digits to a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.3, help="learning rate (default: %(default)s)")
    parser.add_argument(
        "--activation", choices=ACTIVATIONS, default="ReLU", help="that of the hidden layer (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=["float32", "float64"], default="float32", help="arithmetic (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    main()
