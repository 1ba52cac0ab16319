"""Children forked, and copies made, at random moments of training in another thread."""

from __future__ import annotations

import copy
import pickle
import random
import threading
import time

import numpy as np

from fastnn import Identity, Layer, MAELoss, NeuralNetwork
from fastnn.engine import threads

from .children import count_in_children
from .forks import outcome

COUNT = 1_000
SECONDS = 20.0  # after which a child that has not ended hangs


def run(count: int, seed: int) -> dict[str, int]:
    """How many children and copies there were, and of how many every number was of one moment ("whole")."""
    return count_in_children(__name__, count, seed)


def case(number: int, seed: int) -> str:
    """One child, or one copy."""
    threads.MIN_WORK = threads.WORTH_STARTING = 1  # every call has a team
    rng = random.Random(number * 1_000_003 + seed)
    # Every step adds the same number to all its parameters
    net = NeuralNetwork([Layer(400, 1, Identity(), init="zeros")], MAELoss(), 2.0**-20)
    X, y = np.full((512, 400), 2.0**-10), np.full((512, 1), 1e9)
    batch_size, stop = rng.choice([1, 16, 128]), threading.Event()

    def train() -> None:
        while not stop.is_set():
            net.fit(X, y, epochs=20, batch_size=batch_size, verbose=0)

    def child() -> str:
        net.predict(X)
        net.fit(X, y, batch_size=batch_size, verbose=0)
        return "whole" if is_whole(net) else "torn"

    thread = threading.Thread(target=train)
    thread.start()
    time.sleep(rng.uniform(0, 0.02))
    try:
        if number % 2:
            return str(outcome(child, SECONDS))
        make = rng.choice([copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
        return "whole" if is_whole(make(net)) else "torn"
    finally:
        stop.set()
        thread.join()


def is_whole(net: NeuralNetwork) -> bool:
    """Whether all numbers are of the same step."""
    W, b = net.get_weights()[0]
    return len({*(W * 2.0**30).ravel().tolist(), *(b * 2.0**20).ravel().tolist()}) == 1
