"""Every subprocess starts here: this interpreter or a named one, an empty working folder.

A child never starts in the user's working folder, where `python -m` would import from; fork is
never used, because a forked ONNX Runtime hangs. What runs first in it is `child_main`, by which no
child outlives this process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref

from edgeinfer import environment as defaults
from edgeinfer import scratch
from edgeinfer.errors import EdgeInferError
from edgeinfer.records import dataclass

# Neither `typing` nor `pathlib`: see `providers/headstart`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HERE = os.path.dirname(os.path.realpath(__file__))
_IMPORT_ROOTS = (os.path.dirname(_HERE),)
_PREFIX = "edgeinfer-child-"
# No child takes that long to lay its hand on its folder.
_YOUNG_S = 60.0
_REMEDIES = {
    errno.EAGAIN: "allow more processes (ulimit -u, TasksMax= of systemd, docker --pids-limit)",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files (sysctl fs.file-max)",
    errno.ENOMEM: "make memory free, or allow more of it (ulimit -v)",
}
# Run as a file it would be compiled every time.
_MAIN = (
    f"from importlib.machinery import SourceFileLoader as Loader; "
    f"exec(Loader('__main__', {os.path.join(_HERE, 'child_main.py')!r})"
    f".get_code('__main__'))"
)


@dataclass(frozen=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal, None where time ran out."""

    returncode: int | None
    stdout: bytes
    stderr: str


def readable(pipe: int, timeout_s: float) -> bool:
    """Whether a pipe has something to read, or came to its end, within so many seconds.

    By poll(2): select(2) knows no descriptor beyond 1023, and a server may hold thousands.
    """
    watch = select.poll()
    watch.register(pipe, select.POLLIN)
    return bool(watch.poll(max(0.0, timeout_s) * 1000))


def _processor() -> int:
    """The processor that this thread runs on, see proc_pid_stat(5); -1 where that is unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/thread-self/stat") as file:
            stat = file.read()
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
        python: another interpreter that runs it, with its own packages only: nothing of this
            process's is imported there.

    Raises:
        EdgeInferError: where the box allows no further process, or no folder for it.
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
        python: Path | None = None,
    ) -> None:
        self._folder = scratch.folder(_PREFIX)
        inherited = os.environ.get("PYTHONPATH")
        variables = {
            **defaults.VARIABLES,
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": os.pathsep.join([*_IMPORT_ROOTS, *([inherited] if inherited else [])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            # What it leaves behind when it is killed ends with its folder.
            "TMPDIR": self._folder.name,
        }
        limit = [] if memory_bytes is None else ["--memory-limit", str(memory_bytes)]
        if aside:
            limit += ["--not-on", str(_processor())]
        if python is not None:
            limit += ["--python", str(python)]
        flags = ["-I", "-S"] if bare else []
        if sys.dont_write_bytecode:
            flags.append("-B")
        try:
            theirs, ours = os.pipe()
        except OSError as error:
            self._drop_folder()
            raise _refused(error) from error
        # Closed at the latest when nobody holds this object any more: Ctrl-C may come before
        # anybody does, or before the process has a name here.
        self._lifeline = weakref.finalize(self, os.close, ours)
        try:
            self.process = subprocess.Popen(
                [sys.executable, *flags, "-c", _MAIN, str(theirs), *limit, module, *args],
                cwd=self._folder.name,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(*pass_fds, theirs),
                # A group of its own, which dies as one; the terminal's Ctrl-C does not reach it.
                start_new_session=True,
            )
        except BaseException as error:
            self._lifeline()
            os.close(theirs)
            self._drop_folder()
            if isinstance(error, OSError):
                raise _refused(error) from error
            raise
        os.close(theirs)

    def _drop_folder(self) -> None:
        """Remove it, which takes a free file number, and that nobody writes to it any more; else it
        goes with other leftovers."""
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def read_line(self, timeout_s: float) -> bytes:
        """The next line that it prints, without its end; empty where it ended or time ran out.

        What was read is not among what `wait` returns.
        """
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        until = time.monotonic() + timeout_s
        line = b""
        while readable(pipe, until - time.monotonic()):
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
            self.kill()
            stdout, stderr = self.process.communicate()
            code = None
        finally:
            self.close()
        return Finished(code, stdout, stderr.decode(errors="replace"))

    def kill(self) -> None:
        """Kill it and what it started in its group, which else would hold its pipes open; any
        thread may call it."""
        if self.process.returncode is None:  # nobody else can have its number yet
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it, where that was not done, and reap it; a second call does nothing."""
        self.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._lifeline()
        self._drop_folder()
        collect_leftovers()


def _refused(error: OSError) -> EdgeInferError:
    remedy = _REMEDIES.get(error.errno or 0, "'edgeinfer doctor' looks for what is wrong")
    return EdgeInferError(f"No child process can be started: {error.strerror}; {remedy}.")


@functools.cache
def collect_leftovers() -> None:
    """Remove the folders of children that ended with a killed parent; once a process is enough.

    A child holds a lock on its folder as long as it lives (flock(2)).
    """
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    mine = status.st_uid == os.getuid() and entry.is_dir(follow_symlinks=False)
    if not mine or time.time() - status.st_mtime < _YOUNG_S:
        return
    folder = os.open(entry.path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path)
    finally:
        os.close(folder)
