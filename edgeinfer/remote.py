"""The parent's end of a conversation with a child: one JSON document a line, each way."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from edgeinfer.child import Child, readable
from edgeinfer.errors import EdgeInferError
from edgeinfer.timing import now_ns

_LAST_LINES = 5
# `poll` counts milliseconds in 32 bits; a longer wait is several.
_LONGEST_WAIT_S = 86_400.0


class WorkerFailed(EdgeInferError):
    """A child that cannot go on: it refused, died or hung.

    Attributes:
        kind: the name of the error that it raised, where it told.
    """

    kind: str | None = None


class Remote:
    """A child and the conversation with it.

    Commands are sent by `tell` and their answers taken by `hear`, so that several children can
    open their models at the same time; what is measured is asked one by one.

    Args:
        child: speaks JSON lines on its stdin and stdout; it ends with this.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._rest = b""
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        # Whatever it prints is taken away at once: a full pipe would stop it.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        stream = self._child.process.stderr
        assert stream is not None
        try:
            for line in stream:
                self._said.append(line.decode(errors="replace").strip())
        except ValueError:
            pass  # closed meanwhile

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send a command.

        Raises:
            WorkerFailed: if the child is gone.
        """
        stream = self._child.process.stdin
        assert stream is not None
        try:
            stream.write(json.dumps(dict(command)).encode() + b"\n")
            stream.flush()
        except OSError as error:
            raise WorkerFailed(self._epitaph()) from error

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the answer to the command before.

        Raises:
            WorkerFailed: with what the child says, or how it ended.
        """
        stream = self._child.process.stdout
        assert stream is not None
        deadline = now_ns() + round(timeout_s * 1e9)
        while b"\n" not in self._rest:
            left = (deadline - now_ns()) / 1e9
            ready = readable(stream.fileno(), min(left, _LONGEST_WAIT_S))
            if not ready and left <= _LONGEST_WAIT_S:
                raise WorkerFailed(f"it took longer than {timeout_s:.0f} s")
            if not ready:
                continue
            data = stream.read1(1 << 20)  # type: ignore[attr-defined]
            if not data:
                raise WorkerFailed(self._epitaph())
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            failure = WorkerFailed(answer["error"])
            failure.kind = answer.get("kind")
            raise failure
        return answer

    def ask(self, command: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """`tell`, then `hear`."""
        self.tell(command)
        return self.hear(timeout_s)

    def _epitaph(self) -> str:
        process = self._child.process
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its end of the conversation"
        self._listener.join(timeout=1)
        if code < 0:
            why = ", mostly for want of memory" if code == -signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-code).name}{why}"
        last = next((line for line in reversed(self._said) if line), "without a word")
        return f"its process ended with code {code}: {last[:300]}"

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._child.kill()
        self._child.process.wait()
        self._listener.join(timeout=1)
        self._child.close()
