"""Forked children of a warm process, which begin at once, tell what they do line by line, and may be killed."""

import os
import select
import signal
import warnings


def forked(work):
    """Start a child that does `work(write)`, where `write` sends a line to the parent; its id, and where to read."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # from Python 3.12 on, of threads in the parent: they wait, and hold nothing
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    try:
        work(lambda line: os.write(writing, f"{line}\n".encode()))
    except BaseException as error:
        os.write(writing, f"other {error!r:.200}\n".replace("\r", " ").encode())
    finally:
        os._exit(0)


def lines_of(child, reading, seconds):
    """The lines that a child sends; the last is "hung" if one does not come in time, "crashed" if the child died."""
    rest = b""
    try:
        while True:
            if not select.select([reading], [], [], seconds)[0]:
                os.kill(child, signal.SIGKILL)
                yield "hung"
                break
            read = os.read(reading, 65536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            yield from (line.decode() for line in lines)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        yield "crashed"


def killed_after(child, reading, seconds):
    """Kill a child, with no warning, after so long; whether that came before its end."""
    select.select([reading], [], [], seconds)
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def outcome(task, seconds=30.0):
    """What ``task()`` gives in a forked child, as text; "hung", "crashed", or "other ..." if it raises."""
    lines = list(lines_of(*forked(lambda write: write(task())), seconds))
    return lines[0] if lines else "crashed"
