"""The other end of a child's lifeline: the child ends when its parent does, however that happens.

The lifeline is a pipe whose write end the parent alone holds. The kernel closes it when the parent
dies (kill -9 included) and then kills the child's process group: that needs no thread of the child,
so code that holds the interpreter's lock for minutes (a TensorRT build) ends, too, and so does a
program that the child becomes. PR_SET_PDEATHSIG would not do: it fires when the thread that started
the child ends. See fcntl(2), F_SETSIG.

Nothing but built-in modules is imported, so that a script run with ``python -I -S`` may use it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal


def hold(lifeline: int) -> None:
    """From now on this process and its group are killed when the lifeline's other end is closed.

    Args:
        lifeline: the read end of the pipe. The process must lead a group of its own.
    """
    group = os.getpgid(0)
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -group)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):  # no Linux: a thread does it while it gets its turns
        import _thread

        _thread.start_new_thread(_watch, (lifeline, group))
    if select.select([lifeline], [], [], 0)[0]:  # it was closed before this process was ready
        os.killpg(group, signal.SIGKILL)


def _watch(lifeline: int, group: int) -> None:
    os.read(lifeline, 1)
    os.killpg(group, signal.SIGKILL)
