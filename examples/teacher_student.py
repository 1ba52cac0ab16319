"""Students learn to read digits from a teacher, a larger network, without seeing a single label.

The teacher learns from labelled digits. The students, each a single layer with its own learning
rate, then learn to give the teacher's outputs.
"""

import argparse

import digit_data
import numpy as np

from fastnn import CrossEntropyLoss, Layer, LeakyReLU, MSELoss, NeuralNetwork


def main():
    options, digits = digit_data.load(make_parser())
    pixels = digits.x.shape[0]
    order = {"epochs": options.epochs, "shuffle": True, "seed": options.seed}

    rng = np.random.default_rng(options.seed)
    teacher = NeuralNetwork(
        [
            Layer(pixels, 16, LeakyReLU(), seed=rng),
            Layer(16, 16, LeakyReLU(), seed=rng),
            Layer(16, 10, LeakyReLU(), seed=rng),
        ],
        CrossEntropyLoss(),
        options.lr,
    )
    teacher.train(digits.x, digits.t, **order)
    right = np.mean(answers(teacher, digits.x_test) == digits.t_test)
    print(f"teacher {pixels}-16-16-10, learning rate {options.lr:g}: test accuracy {right:.1%}")

    lessons = teacher.forward_pass(digits.x)  # all columns at once
    for lr in options.student_lr:
        student = NeuralNetwork([Layer(pixels, 10, LeakyReLU(), seed=options.seed)], MSELoss(), lr)
        student.train(digits.x, lessons, **order)
        guesses = answers(student, digits.x_test)
        right = np.mean(guesses == digits.t_test)
        alike = np.mean(guesses == answers(teacher, digits.x_test))
        print(
            f"student {pixels}-10, learning rate {lr:g}: test accuracy {right:.1%}, "
            f"answers like the teacher {alike:.1%}"
        )


def answers(net, x):
    """The class with the largest output, for each column of x."""
    return net.forward_pass(x).argmax(axis=0)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    digit_data.add_arguments(parser)
    parser.add_argument("--epochs", type=int, default=10, help="passes through the digits (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.003, help="the teacher's learning rate (default: %(default)s)")
    parser.add_argument(
        "--student-lr",
        type=float,
        nargs="+",
        default=[0.001, 0.003, 0.01, 0.03],
        metavar="LR",
        help="the students' learning rates, a student each (default: 0.001 0.003 0.01 0.03)",
    )
    return parser


if __name__ == "__main__":
    main()
