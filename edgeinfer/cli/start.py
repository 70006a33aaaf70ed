"""The console script: how a command is ended is settled before anything else is imported.

Ctrl-C raises KeyboardInterrupt wherever the main thread is, and in some places that is lost: the
import system runs callbacks whose exceptions are printed and dropped, and modules catch what they
should not. So an import is finished first, and what was dropped is raised again.
"""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Any

# An import that takes longer is broken off all the same.
_PATIENCE_S = 3.0
_AGAIN_S = 0.01
# What is to be raised in the main thread, and until when it waits for an import to end.
_pending: BaseException | None = None
_deadline_s = 0.0


def entry() -> None:
    """The console script `edgeinfer`; SIGTERM ends any command cleanly."""
    install()
    try:
        try:
            from edgeinfer.cli.main import main

            code = main()
        except KeyboardInterrupt:
            code = interrupted()
    finally:
        # What is done is done: from here on there is nothing to interrupt.
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    raise SystemExit(code)


def install() -> None:
    """Let SIGINT and SIGTERM end this process by an exception that is not lost."""
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    sys.unraisablehook = _again


def interrupted() -> int:
    """Say that Ctrl-C ended it; returns the exit code."""
    print("edgeinfer: interrupted; what was written so far is whole.", file=sys.stderr)
    return 130


def _handle(number: int, frame: FrameType | None) -> None:
    global _pending, _deadline_s
    if number == signal.SIGTERM:
        print("edgeinfer: ended by SIGTERM.", file=sys.stderr)
    if number != signal.SIGALRM:
        _pending = SystemExit(0) if number == signal.SIGTERM else KeyboardInterrupt()
        _deadline_s = time.monotonic() + _PATIENCE_S
    if _pending is None:
        return
    if _importing(frame) and time.monotonic() < _deadline_s:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    error, _pending = _pending, None
    raise error


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
