"""SIGKILL at any moment of a fit with a checkpoint: called again, it ends with the bits of one that was not killed."""

import hashlib
import pathlib
import random
import tempfile
import time

from fastnn import LambdaCallback, saving

from .fits import EPOCHS, KINDS, WATCHERS, fit, result, warm
from .forks import forked, killed_after, lines_of

COUNT = 200


def run(count: int, seed: int) -> dict[str, int]:
    """Kill that many fits, each up to three times."""
    warm()
    draw = random.Random(seed)
    counts = dict.fromkeys(["tried", "kills", "crashed", "hung", "lost", "different"], 0)
    while counts["tried"] < count:
        kind = draw.choice(KINDS)
        # in half of the trials all of them, in an order of chance; in the others, some or none
        watchers = draw.sample(WATCHERS, len(WATCHERS) if draw.random() < 0.5 else draw.randrange(len(WATCHERS)))
        setting = (kind, tuple(watchers), draw.randint(0, len(watchers)), draw.choice([1, 1, 5]))
        with tempfile.TemporaryDirectory() as folder:
            expected, seconds = _uninterrupted(setting, pathlib.Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            outcome, kills = _killed(setting, pathlib.Path(folder), draw, seconds)
        counts["tried"] += 1
        counts["kills"] += kills
        if outcome in ("crashed", "hung", "lost"):
            counts[outcome] += 1
        elif outcome != expected:
            counts["different"] += 1
    return counts


def _in_child(setting, folder):
    """The child's work: the fit, or what is left of it; it tells with which epoch it begins, and how it ends."""
    kind, watchers, at, every = setting

    def work(write):
        begun = []

        def begin(epoch):
            if not begun:
                write(f"began {epoch}")
            begun.append(epoch)

        net, history = fit(kind, folder, watchers, at, every, more=[LambdaCallback(on_epoch_begin=begin)])
        write("ended " + hashlib.sha256(result(net, history, folder).encode()).hexdigest())

    return work


def _uninterrupted(setting, folder):
    started = time.monotonic()
    *_, last = lines_of(*forked(_in_child(setting, folder)), 60.0)
    assert last.startswith("ended"), last
    return last, time.monotonic() - started


def _killed(setting, folder, draw, seconds):
    kills = 0
    for _ in range(draw.randint(1, 3)):
        child, reading = forked(_in_child(setting, folder))
        kills += killed_after(child, reading, draw.random() * seconds)
    done = 0
    if (folder / "run").exists():
        done = saving.read(folder / "run")[0]["run"]["epoch"]
    lines = list(lines_of(*forked(_in_child(setting, folder)), 60.0))
    if lines[-1] in ("crashed", "hung"):
        return lines[-1], kills
    began = [f"began {done + 1}"] if done < EPOCHS else []
    if lines[:-1] != began or not lines[-1].startswith("ended"):
        return "lost", kills
    return lines[-1], kills
