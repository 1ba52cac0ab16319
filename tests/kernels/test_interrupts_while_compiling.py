"""Signals that come while code is compiled wait until it is, and then do what they do."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from fastnn.kernels import compiling
from fastnn.kernels.compiling import undisturbed
from tests.reliability import interrupted_compiles

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no such signals on this system")


class Alarm(Exception):
    pass


@pytest.fixture
def handlers():
    """What came, in order; SIGINT and SIGALRM raise, SIGUSR1 does not."""
    came = []

    def handler(number, frame):
        came.append(number)
        if number != signal.SIGUSR1:
            raise {signal.SIGINT: KeyboardInterrupt, signal.SIGALRM: Alarm}[number](number)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGALRM, signal.SIGUSR1)}
    yield came
    assert [signal.getsignal(number) for number in before] == [handler] * 3
    for number, old in before.items():
        signal.signal(number, old)


@undisturbed
def long(*numbers, error=None):
    """Sends signals to this process, and goes on for a while."""
    for number in numbers:
        os.kill(os.getpid(), number)
    for _ in range(1000):
        time.sleep(0)
    done.append(numbers)
    if error is not None:
        raise error
    return "done"


done = []


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGALRM, Alarm)])
def test_a_handler_that_raises_waits(handlers, number, error):
    with pytest.raises(error):
        long(number)
    assert done == [(number,)]
    assert handlers == [number]
    assert long() == "done"


def test_a_handler_that_raises_nothing_is_called_each_time_it_would_be(handlers):
    assert long(signal.SIGUSR1) == "done"
    assert handlers == [signal.SIGUSR1]


def test_all_that_came_are_delivered(handlers):
    with pytest.raises((KeyboardInterrupt, Alarm)):
        long(signal.SIGINT, signal.SIGUSR1, signal.SIGALRM)
    assert sorted(handlers) == sorted([signal.SIGINT, signal.SIGUSR1, signal.SIGALRM])


def test_many_of_a_kind_raise_once(handlers):
    with pytest.raises(KeyboardInterrupt) as raised:
        long(*[signal.SIGINT] * 2000)
    assert handlers == [signal.SIGINT]
    assert raised.value.__context__ is None


def test_an_error_of_the_compiler_is_kept_as_the_context(handlers):
    with pytest.raises(KeyboardInterrupt) as raised:
        long(signal.SIGINT, error=TypeError("it cannot be compiled"))
    assert "it cannot be compiled" in str(raised.value.__context__)
    with pytest.raises(TypeError, match="it cannot be compiled"):
        long(error=TypeError("it cannot be compiled"))


def test_one_within_another(handlers):
    @undisturbed
    def outer():
        long(signal.SIGINT)
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert done == [(signal.SIGINT,), "outer"]


def test_other_threads_have_no_handlers_to_hold_back(handlers):
    """Ctrl-C in the main thread is heard at once while another one compiles."""
    begun, finish = threading.Event(), threading.Event()

    @undisturbed
    def compile_slowly():
        begun.set()
        assert finish.wait(60)
        done.append("compiled")

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    assert begun.wait(60)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert done == []
    finish.set()
    thread.join()
    assert done == ["compiled"]


def test_signals_without_a_handler_in_python_are_left_alone():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert long(signal.SIGUSR2) == "done"
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_handler_between_any_two_lines_of_the_wrapper_is_not_lost(handlers):
    """Wherever the signal falls, what it raises is raised, and the handlers are those that were there."""
    calls = 0
    while True:
        calls, lines, sent = calls + 1, 0, []

        def trace(frame, event, argument, number=calls, sent=sent):
            nonlocal lines
            if frame.f_code.co_filename != compiling.__file__:
                return None
            lines += 1
            if lines == number:
                sent.append(number)
                sys.settrace(None)
                os.kill(os.getpid(), signal.SIGALRM)
            return trace

        before, raised = len(handlers), False
        try:
            sys.settrace(trace)
            long()
        except Alarm:
            raised = True
        finally:
            sys.settrace(None)
        assert raised == bool(sent), f"line event {calls}"
        assert len(handlers) - before == len(sent)
        assert not compiling._compiling
        for number in (signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):  # a proxy left behind must hand on what comes
            with pytest.raises((KeyboardInterrupt, Alarm)) if number != signal.SIGUSR1 else noted(handlers):
                os.kill(os.getpid(), number)
                time.sleep(0.001)
            while isinstance(signal.getsignal(number), compiling._HeldBack):
                signal.signal(number, signal.getsignal(number).handlers[number])
        if not sent:
            break
    assert calls > 20


class noted:
    def __init__(self, came):
        self.came, self.before = came, len(came)

    def __enter__(self):
        pass

    def __exit__(self, *error):
        assert len(self.came) == self.before + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_forked_while_another_thread_compiles_can_compile():
    script = """
    import os, threading, time, signal
    import numpy as np
    from fastnn.kernels.compiling import compiled_address, global_compiler_lock
    from numba import types

    def compiles(x):
        return x + 1.0

    held, free = threading.Event(), threading.Event()

    def compile_slowly():
        with global_compiler_lock:
            held.set()
            free.wait(1)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if compiled_address(compiles, types.float64(types.float64)) else 1)
    print(os.waitpid(child, 0)[1], compiled_address(compiles, types.float64(types.float64)) > 0)
    """
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300
    )
    assert out.stdout.split() == ["0", "True"], out.stderr


def test_interrupted_compilations():
    found = interrupted_compiles.run(4, seed=0)
    assert found.pop("tried") >= 4
    assert not any(found.values()), found
