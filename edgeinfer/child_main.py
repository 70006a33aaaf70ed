"""Where every child begins: it is tied to its parent, then it becomes the module that it is for.

It imports built-in modules alone, because every child pays for it. A parent's
preexec_fn, which could set limits as well, would need fork.

The lifeline is a pipe whose write end the parent alone holds. The kernel closes it when the parent
dies (kill -9 included) and then kills the child's process group: that needs no thread of the child,
so code that holds the interpreter's lock for minutes (a TensorRT build) ends, too, and so does a
program that the child becomes. PR_SET_PDEATHSIG would not do: it fires when the thread that started
the child ends. See fcntl(2), F_SETSIG.
"""

import fcntl
import os
import resource
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Hold on to the parent, set the limits, run the module, or the file, that is named."""
    _hold(int(sys.argv[1]))
    # As long as this is locked, nobody takes the folder for a dead child's.
    folder = os.open(".", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    os.set_inheritable(folder, True)
    arguments = sys.argv[2:]
    if arguments[0] == "--memory-limit":
        _limit_memory(int(arguments[1]))
        arguments = arguments[2:]
    if arguments[0] == "--not-on":
        others = os.sched_getaffinity(0) - {int(arguments[1])}
        if others:
            os.sched_setaffinity(0, others)
        arguments = arguments[2:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A SIGINT from elsewhere is no reason to end; the parent decides when its children do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments[0] == "--python":
        _become(arguments[1], arguments[2:])
    sys.argv = arguments
    if sys.path[0] == "":
        del sys.path[0]  # the working folder: nothing is imported from there
    if arguments[0].endswith(".py"):
        from importlib.machinery import SourceFileLoader

        code: Any = SourceFileLoader("__main__", arguments[0]).get_code("__main__")
        exec(code, {"__name__": "__main__", "__file__": arguments[0]})
    else:
        import runpy

        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _limit_memory(bound: int) -> None:
    """Bound the address space; a limit that this box sets already (``ulimit -v``) may be lower."""
    there = resource.getrlimit(resource.RLIMIT_AS)
    bound = min(bound, *(limit if limit != resource.RLIM_INFINITY else bound for limit in there))
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _become(python: str, arguments: list[str]) -> None:
    """Become another interpreter: limits and ignored signals stay, our import paths do not."""
    for name in list(os.environ):
        if name.startswith("PYTHON") or name in ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            del os.environ[name]
    # What is converted there shall be the same every time: sets keep one order.
    os.environ["PYTHONHASHSEED"] = "0"
    way = [] if arguments[0].endswith(".py") else ["-m"]
    # Without the user's own packages, and without bytecode beside our scripts.
    os.execv(python, [python, "-s", "-B", *way, *arguments])


def _hold(lifeline: int) -> None:
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
    ended = select.poll()  # select(2) knows no number beyond 1023, and this one is the parent's
    ended.register(lifeline, select.POLLIN)
    if ended.poll(0):  # it was closed before this process was ready
        os.killpg(group, signal.SIGKILL)


def _watch(lifeline: int, group: int) -> None:
    os.read(lifeline, 1)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
