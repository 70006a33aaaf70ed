"""Every subprocess starts here: this interpreter or a named one, an empty working folder.

`python -m` imports from the working folder, so a child never starts in the user's; fork is never
used, because a forked ONNX Runtime hangs.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_IMPORT_ROOTS = (Path(__file__).resolve().parent.parent,)


@dataclass(frozen=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal, None where time ran out."""

    returncode: int | None
    stdout: bytes
    stderr: str


class Child:
    """A running module of ours; close() ends it and removes its folder.

    Args:
        module: import name, run as ``python -m module``; or the path of a ``.py`` file, which then
            runs without importing the packages that it lies in.
        args: its arguments.
        pass_fds: file descriptors that stay open in it.
        memory_bytes: limit of its address space, None for none.
        environment: variables that it gets besides this process's own.
        python: another interpreter that runs it, with its own packages only: nothing of this
            process's is imported there.
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str] = (),
        *,
        pass_fds: Sequence[int] = (),
        memory_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        python: Path | None = None,
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
        other = [] if python is None else ["--python", str(python)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeinfer.child", *limit, *other, module, *args],
            cwd=self._folder.name,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
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


def _main() -> None:
    """Set the limits, then become the module (a parent's preexec_fn would need fork)."""
    import resource
    import runpy
    import signal

    arguments = sys.argv[1:]
    if arguments[0] == "--memory-limit":
        bound = int(arguments[1])
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        arguments = arguments[2:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C reaches the whole terminal group; the parent decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments[0] == "--python":
        _become(arguments[1], arguments[2:])
    sys.argv = arguments
    if arguments[0].endswith(".py"):
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _become(python: str, arguments: Sequence[str]) -> NoReturn:
    """Become another interpreter: limits and ignored signals stay, our import paths do not."""
    for name in list(os.environ):
        if name.startswith("PYTHON") or name in ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            del os.environ[name]
    # What is converted there shall be the same every time: sets keep one order.
    os.environ["PYTHONHASHSEED"] = "0"
    way = [] if arguments[0].endswith(".py") else ["-m"]
    # Without the user's own packages, and without bytecode beside our scripts.
    os.execv(python, [python, "-s", "-B", *way, *arguments])


if __name__ == "__main__":
    _main()
