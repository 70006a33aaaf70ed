"""Every subprocess starts here: this interpreter, one of our modules, an empty working folder.

A child never starts in the user's working folder, where `python -m` would import from; fork is
never used, because a forked ONNX Runtime hangs. What runs first in it is `child_main`.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_IMPORT_ROOTS = (Path(__file__).resolve().parent.parent,)
_MAIN = str(Path(__file__).with_name("child_main.py"))


@dataclass(frozen=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal, None where time ran out."""

    returncode: int | None
    stdout: bytes
    stderr: str


def _processor() -> int:
    """The processor that this thread runs on, see proc_pid_stat(5); -1 where that is unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = Path("/proc/thread-self/stat").read_text()
        # The name in parentheses may hold anything; the processor is field 39, the state field 3.
        return int(stat.rpartition(")")[2].split()[36])
    return -1


class Child:
    """A running module of ours; close() ends it and removes its folder.

    Args:
        module: import name, run as ``python -m module``; or the path of a ``.py`` file, which then
            runs without importing the packages that it lies in.
        args: its arguments.
        pass_fds: file descriptors that stay open in it.
        memory_bytes: limit of its address space, None for none.
        environment: variables that it gets besides this process's own.
        bare: whether it needs the standard library alone: it then starts sooner.
        aside: whether it keeps off the processor that this thread is on. Schedulers of virtual
            machines may put a new process beside its parent, where each waits for the other.
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str] = (),
        *,
        pass_fds: Sequence[int] = (),
        memory_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        bare: bool = False,
        aside: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgeinfer-child-")
        roots = [str(root) for root in _IMPORT_ROOTS]
        inherited = os.environ.get("PYTHONPATH")
        variables = {
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": os.pathsep.join([*roots, *([inherited] if inherited else [])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            # What it leaves behind when it is killed ends with its folder.
            "TMPDIR": self._folder.name,
        }
        limit = [] if memory_bytes is None else ["--memory-limit", str(memory_bytes)]
        if aside:
            limit += ["--not-on", str(_processor())]
        flags = ["-I", "-S"] if bare else []
        self.process = subprocess.Popen(
            [sys.executable, *flags, _MAIN, *limit, module, *args],
            cwd=self._folder.name,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            start_new_session=aside,
        )

    def read_line(self, timeout_s: float) -> bytes:
        """The next line that it prints, without its end; empty where it ended or time ran out.

        What was read is not among what `wait` returns.
        """
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        until = time.monotonic() + timeout_s
        line = b""
        while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            byte = os.read(pipe, 1)
            if byte in (b"", b"\n"):
                return line
            line += byte
        return b""

    def go_on(self) -> None:
        """Let a child go on that waits for a line; where it is dead, nothing happens."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def wait(self, timeout_s: float) -> Finished:
        """Close its input, wait for its end, kill it when the time is up."""
        try:
            stdout, stderr = self.process.communicate(timeout=timeout_s)
            code: int | None = self.process.returncode
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            code = None
        finally:
            self.close()
        return Finished(code, stdout, stderr.decode(errors="replace"))

    def close(self) -> None:
        """Kill it if it still runs and reap it; a second call does nothing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._folder.cleanup()
