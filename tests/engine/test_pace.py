"""When a team is tried, kept and given up, by a clock of the tests' own; and that the bits do not depend on it."""

import gc
import math
import random
import sys
import threading
import weakref

import numpy as np
import pytest

import fastnn
from fastnn import Adam, BatchNorm, CrossEntropyLoss, Dropout, Identity, Layer, NeuralNetwork, Tanh
from fastnn.engine import pace as paces, threads
from fastnn.engine.pace import Pace, Turn
from tests.reliability import busy

BATCH = 32


class Machine:
    """Work at a `Pace`, on a machine where a step takes so long alone, and in a team what `team(step)` says."""

    def __init__(self, alone, team, products=20_000):
        self.now, self.alone, self.team = 0.0, alone, team
        self.pace = Pace(products, BATCH, lambda: self.now)
        self.steps = self.together = self.tries = 0

    def work(self, seconds, most=1000):
        """Go on for so long; returns how many seconds that was longer than one thread would have taken."""
        begin, steps = self.now, self.steps
        while self.now < begin + seconds:
            before = self.pace._together
            turn = self.pace.turn()
            self.tries += self.pace._together and not before
            allowed, taken, took = int(min(most, max(1, turn.samples / BATCH))), 0, 0.0
            if not turn.together:
                taken, took = allowed, allowed * self.alone
            while taken < allowed:  # what the kernel does
                took += self.team(self.steps + taken)
                taken += 1
                if took - taken * BATCH * turn.a_sample > turn.allowance:
                    break
            self.steps += taken
            self.together += taken * turn.together
            self.now += took
            self.pace.note(turn, taken * BATCH, took)
        return self.now - begin - (self.steps - steps) * self.alone


@pytest.fixture(autouse=True)
def no_trouble(monkeypatch):
    monkeypatch.setattr(Pace, "trouble", -math.inf)


@pytest.mark.parametrize("alone", [2e-5, 2e-4, 2e-3, 2e-2])
def test_a_team_that_is_quicker_works_nearly_all_the_time(alone):
    machine = Machine(alone, lambda step: 0.55 * alone)
    machine.work(2.0)
    assert machine.tries == 1
    machine.steps = machine.together = 0
    machine.work(8.0)
    assert machine.together > 0.98 * machine.steps


@pytest.mark.parametrize("alone", [2e-5, 2e-4, 2e-3])
def test_nor_does_a_slow_step_now_and_then_end_it(alone):
    machine = Machine(alone, lambda step: 0.55 * alone + 4e-3 * (step % int(0.1 / alone) == 7))
    machine.work(1.0)
    machine.tries, machine.steps, machine.together = 0, 0, 0
    machine.work(8.0)
    assert machine.together > 0.97 * machine.steps


def test_nor_a_long_wait_every_second():
    machine = Machine(2e-4, lambda step: 1.1e-4 + 5e-2 * (step % 9000 == 8999))
    machine.work(1.0)
    machine.steps = machine.together = 0
    machine.work(20.0)
    assert machine.together > 0.9 * machine.steps


@pytest.mark.parametrize("alone", [2e-5, 2e-4, 2e-3, 2e-2])
@pytest.mark.parametrize("times", [1.2, 2.0, 100.0])
def test_a_team_that_is_slower_costs_little(alone, times):
    machine = Machine(alone, lambda step: times * alone)
    lost = machine.work(0.2)
    assert lost <= max(2 * paces.SLACK, 3 * times * alone) + 0.15 * machine.now
    machine.tries = 0
    assert machine.work(100.0) <= 0.1 * 100
    assert 100 / (2 * paces.LONGEST) / max(1, 16 * times * alone) - 1 <= machine.tries, "it is tried for ever"
    assert machine.tries <= 60


@pytest.mark.parametrize("good", [0, 10, 200])
def test_nor_does_one_that_waits_for_time_slices_of_others(good):
    """A thread that was asleep may have some milliseconds before others get their turn."""
    machine = Machine(2e-5, lambda step: 1.2e-5 if step % (good + 1) < good else 8e-3)
    assert machine.work(0.02) <= 1e-9, "it was tried before there was anything to compare it with"
    assert machine.work(20.0) <= 0.08 * 20


def test_a_machine_that_becomes_busy_is_noticed_within_a_few_slices_and_one_that_is_free_again_soon():
    at = [0.55]
    machine = Machine(2e-4, lambda step: at[0] * 2e-4)
    machine.work(10.0)
    at[0] = 40.0
    assert machine.work(0.02) <= paces.CREDIT + 0.01
    assert machine.work(5.0) <= 0.06 * 5
    at[0] = 0.55
    machine.work(2 * paces.LONGEST)
    machine.steps = machine.together = 0
    machine.work(1.0)
    assert machine.together > 0.9 * machine.steps


def test_a_machine_that_gets_slower_for_one_thread_too_keeps_its_team():
    machine = Machine(2e-4, lambda step: 0.55 * machine.alone)
    machine.work(5.0)
    machine.alone *= 3
    machine.work(5.0)
    machine.steps = machine.together = 0
    machine.work(8.0)
    assert machine.together > 0.97 * machine.steps


def test_one_that_gets_quicker_for_one_thread_alone_loses_it():
    """The team seems to gain, against what one thread took long ago: only a check tells."""
    machine = Machine(2e-4, lambda step: 1.2e-4)
    machine.work(5.0)
    machine.alone = 6e-5
    machine.work(3 * paces.LONGEST)
    machine.steps = machine.together = 0
    machine.work(20.0)
    assert machine.together < 0.1 * machine.steps


def test_after_a_failure_work_of_other_kinds_waits_too():
    one, other = Machine(2e-4, lambda step: 1.0), Machine(2e-4, lambda step: 1.0)
    one.work(1.5)
    assert one.tries == 1
    other.now = one.now
    other.work(0.1)
    assert other.tries == 0
    other.work(2.0)
    assert other.tries == 1


def test_each_kind_and_size_has_a_pace_of_its_own():
    float64 = np.dtype(np.float64)
    one = paces.pace_of("training", float64, 2, 1000, 32)
    assert paces.pace_of("training", float64, 2, 1000, 32) is one
    others = [
        ("inference", 2, 1000, 32),
        ("training", 3, 1000, 32),
        ("training", 2, 1001, 32),
        ("training", 2, 1000, 8),
    ]
    for kind, team, products, step in others:
        assert paces.pace_of(kind, float64, team, products, step) is not one


# --- the bits --------------------------------------------------------------------------------


def everything(net, X, y):
    """What every kind of call gives."""
    history = net.fit(X, y, epochs=4, batch_size=BATCH, verbose=0, seed=3, metrics=["accuracy"])
    loss = net.train(X.T, y, epochs=2, batch_size=50, shuffle=True, seed=1)
    gradient = net.loss_and_gradient(X, y)
    net.engine.step(gradient[1])
    numbers = [*history["loss"], *history["accuracy"], loss, gradient[0]]
    return numbers, gradient[1].tobytes(), net.predict(X).tobytes(), net.parameters.tobytes()


def network():
    layers = [Layer(20, 33, Tanh(), seed=0), BatchNorm(), Dropout(0.2), Layer(33, 5, Identity(), seed=1)]
    return NeuralNetwork(layers, CrossEntropyLoss(), 0.01, Adam())


@pytest.mark.parametrize("seed", range(4))
def test_the_bits_are_the_same_wherever_a_call_changes_over(seed, always_teams, monkeypatch):
    rng, draw = np.random.default_rng(0), random.Random(seed)
    X, y = rng.normal(size=(702, 20)), rng.integers(0, 5, 702)
    turns, notes = [], []

    def turn(self):
        """Alone or together, for any number of samples, and given up after none, some or all steps."""
        some = draw.choice([1, BATCH, 5 * BATCH, math.inf])
        turns.append(Turn(draw.random() < 0.7, some, 1e-9, draw.choice([-1.0, 1e-4, math.inf]), 0.5))
        return turns[-1]

    monkeypatch.setattr(Pace, "turn", turn)
    monkeypatch.setattr(Pace, "note", lambda self, turn, samples, seconds: notes.append((turn, samples)))
    results = []
    before = fastnn.get_num_threads()
    try:
        for count in (1, 2, 3):
            fastnn.set_num_threads(count)
            results.append(everything(network(), X, y))
    finally:
        fastnn.set_num_threads(before)
    assert results[0] == results[1] == results[2]
    assert {each.together for each in turns} == {True, False}
    assert all(samples >= 1 for _, samples in notes)
    assert any(each.together and each.allowance < 0 and samples == BATCH for each, samples in notes), "none given up"


# --- calls that end in other ways ------------------------------------------------------------


@pytest.fixture
def pair(always_teams):
    """A network that is trained by two threads, its data, and what a fit of it gives."""
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(2)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 20)), rng.integers(0, 5, 300)

    def fit():
        net = network()
        net.fit(X, y, epochs=2, batch_size=BATCH, verbose=0, seed=0)
        return net.parameters.tobytes()

    yield fit, fit()
    fastnn.set_num_threads(before)


@pytest.mark.parametrize("instruction", range(0, 120, 3))
def test_an_interrupt_at_any_instruction_leaves_the_threads_ready(pair, instruction):
    """Nothing hangs, and the next calls get their team."""
    fit, expected = pair
    seen = [0]

    def trace(frame, event, arg):
        if frame.f_code.co_filename != threads.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen[0] += 1
            if seen[0] == instruction * 4 + 1:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        fit()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(old)
    done = []
    worker = threading.Thread(target=lambda: done.extend([fit(), fit()]), daemon=True)
    worker.start()
    worker.join(60)
    assert done == [expected, expected]
    assert seen[0] == 4 * instruction + 1, "the fit was over before"


def test_a_thread_that_comes_late_to_a_call_touches_nothing(pair, monkeypatch):
    fit, expected = pair
    late, put = [], threads._calls.put

    class Slow:
        def put(self, item):
            late.append(item)

    monkeypatch.setattr(Pace, "turn", lambda self: Turn(True, patience=1e-3))
    monkeypatch.setattr(threads, "_calls", Slow())
    assert fit() == expected
    assert late
    for call, who in late:
        assert call.is_over
        assert call.kernel(call.address, who) is False
        put((call, who))
    monkeypatch.undo()
    assert fit() == expected


@pytest.mark.usefixtures("pair")
def test_waiting_threads_keep_no_memory():
    net = network()
    X = np.random.default_rng(0).normal(size=(300, 20))
    net.predict(X)
    plan = weakref.ref(net.engine.plan())
    del net
    for _ in range(100):
        gc.collect()
        if plan() is None:
            return
        threading.Event().wait(0.02)
    raise AssertionError("a thread of the crew still has the last call's plan")


def test_busy_machines_in_short(monkeypatch):
    """The long form's code runs, and gives a ratio of every kind of work."""
    monkeypatch.setattr(busy, "NETWORKS", {"8-8-1": ((8, 8, 1), 16, 128)})
    found = {name: pair(0) for name, pair in busy.pairs(0).items()}
    assert len(found) == 4
    assert all(ratio > 0 for ratio in found.values())
