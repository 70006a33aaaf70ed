"""The console script: how a command is ended is settled before anything else is imported.

Ctrl-C raises KeyboardInterrupt wherever the main thread is, and in some places that is lost: the
import system runs callbacks whose exceptions are printed and dropped, and modules catch what they
should not. So an import is finished first, and what was dropped is raised again. And where the main
thread is inside a library for long (an engine is built for minutes), another one ends the process.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import io
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from edgeinfer import environment

# An import that takes longer is broken off all the same.
_PATIENCE_S = 3.0
_AGAIN_S = 0.01
# Whoever does not hear Ctrl-C for so long is inside a library.
_DEAF_S = 3.0
# What is to be raised in the main thread, and until when it waits for an import to end.
_pending: BaseException | None = None
_deadline_s = 0.0
# When the main thread last heard a signal; it may do so before the other one gets its turn.
_heard_s = 0.0
_TURN_S = 1.0
# When it was last told to end. A second Ctrl-C right after the first (a finger that is quick, a
# shell and its terminal that both send one) does not break off what the first one closes.
_told_s = -_TURN_S


def entry() -> None:
    """The console script `edgeinfer`; SIGTERM ends any command cleanly."""
    try:
        try:
            fill_gaps()
            forgive_stderr()
            install()
            keep_stdout()
            for name, value in environment.VARIABLES.items():
                os.environ.setdefault(name, value)  # numpy and the children shall find it
            from edgeinfer.cli.main import main

            code = main()
        except KeyboardInterrupt:
            code = interrupted()
        except SystemExit:
            code = 0  # by SIGTERM: nothing else of ours raises it
    finally:
        # What is done is done: from here on there is nothing to interrupt.
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        # Python notes a KeyboardInterrupt that leaves a text given to exec (namedtuple, dataclass)
        # and kills itself by SIGINT at its end, though it was caught; the next text clears that.
        exec("")
    code = flush_stdout(code)
    # Not before: what is to be printed may find no reader, for ever.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process.

    Where closing was broken off, a thread may still be inside a library, and an interpreter that
    ends then aborts; so it is left to the system to end it.
    """
    threading = sys.modules.get("threading")
    if threading is not None and any(thread.daemon for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        code = flush_stdout(code)
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def flush_stdout(code: int) -> int:
    """Print what is left; returns the exit code, 1 where nothing was wrong before and it fails."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        drop_stdout()
        if not isinstance(error, BrokenPipeError):  # `| head`: nobody is listening
            print(f"edgeinfer: what was to be printed: {error.strerror}.", file=sys.stderr)
            return code or 1
    return code


def drop_stdout() -> None:
    """Let what is not printed yet go nowhere: Python would try once more, and complain, at its
    end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fill_gaps() -> None:
    """Give stdin, stdout and stderr that came closed to nobody: otherwise the next file that is
    opened takes that number, and what a library prints would end up in it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stderr is None:  # print(file=None) would print to stdout
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


class _Forgiving(io.FileIO):
    """A file that takes everything, and loses what cannot be written."""

    def write(self, data: Any) -> int:
        taken = None
        with contextlib.suppress(OSError):
            taken = super().write(data)
        return taken or memoryview(data).nbytes


def forgive_stderr() -> None:
    """What is told to people must end nothing: their disk is full, or nobody reads the log any
    more, and the results still go where they should."""
    before = sys.stderr
    try:
        raw = _Forgiving(before.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # no file is behind it
        return
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(raw), before.encoding, before.errors, line_buffering=True
    )


def install() -> None:
    """Let SIGINT and SIGTERM end this process by an exception that is not lost."""
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    sys.unraisablehook = _again
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (theirs,))


def keep_stdout() -> None:
    """What libraries print goes to stderr: stdout holds results, and a program may read them."""
    before = sys.stdout
    if before is None or sys.stderr is None:  # closed by whoever started this process
        return
    sys.stdout = open(  # noqa: SIM115 (it stays open to the end)
        os.dup(1),
        "w",
        encoding=before.encoding,
        errors="backslashreplace",  # a name that this encoding lacks is still told
        buffering=1 if before.line_buffering or getattr(before, "write_through", False) else -1,
    )
    os.dup2(2, 1)


def interrupted() -> int:
    """Say that Ctrl-C ended it; returns the exit code."""
    print("edgeinfer: interrupted; what was written so far is whole.", file=sys.stderr)
    return 130


def _handle(number: int, frame: FrameType | None) -> None:
    global _pending, _deadline_s, _heard_s, _told_s
    _heard_s = time.monotonic()
    if number != signal.SIGALRM:
        if _heard_s < _told_s + _TURN_S:
            return
        _told_s = _heard_s
        if number == signal.SIGTERM:
            print("edgeinfer: ended by SIGTERM.", file=sys.stderr)
        _pending = SystemExit(0) if number == signal.SIGTERM else KeyboardInterrupt()
        _deadline_s = time.monotonic() + _PATIENCE_S
    if _pending is None:
        return
    if _importing(frame) and time.monotonic() < _deadline_s:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    error, _pending = _pending, None
    raise error


def _watch(signals: int) -> None:
    """End the process where the main thread does not hear Ctrl-C, as a kill would: files appear
    whole or not at all, children end with their parent, and the cache collects what is left."""
    while number := os.read(signals, 1):
        came_s = time.monotonic()
        while number[0] == signal.SIGINT and _heard_s < came_s - _TURN_S:
            if time.monotonic() > came_s + _DEAF_S:
                interrupted()
                os._exit(130)
            time.sleep(_AGAIN_S)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _again(dropped: Any) -> None:
    """Raise once more what Python would only print, because it came up in a callback."""
    global _pending
    if issubclass(dropped.exc_type, (KeyboardInterrupt, SystemExit)):
        _pending = dropped.exc_value or dropped.exc_type()
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    sys.__unraisablehook__(dropped)
