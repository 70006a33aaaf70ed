"""The parent's end of the child that holds torch."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edgeinfer import errors
from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError, ModelFileError

_MODULE = "edgeinfer_export.sources.torch_tools.worker"
# A hang, not slowness: the biggest networks convert in a few minutes.
_TIMEOUT_S = 3600.0
_LAST_LINES = 20
_LAST_S = 10.0
# A user who set the opposite for other programs does not loosen this one.
_FORBIDDEN = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_HELD = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Worker:
    """A child and the conversation with it; close() ends it.

    Args:
        trust_pickle: whether torch may unpickle more than tensors there.
        say: told what takes long.
    """

    def __init__(self, trust_pickle: bool, say: Callable[[str], None]) -> None:
        held = {} if trust_pickle else {_HELD: "1"}
        self._child = Child(
            _MODULE,
            environment={
                _FORBIDDEN: "0",
                **held,
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
                "TRANSFORMERS_VERBOSITY": "error",
            },
        )
        self._say = say
        self._rest = b""
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        # Whatever it prints is taken away at once: a full pipe would stop it.
        self._listener = threading.Thread(
            target=self._listen, name="edgeinfer-torch-stderr", daemon=True
        )
        self._listener.start()

    def _listen(self) -> None:
        stream = self._child.process.stderr
        assert stream is not None
        try:
            for line in stream:
                self._said.append(line.decode(errors="replace").strip())
        except ValueError:
            pass  # closed meanwhile

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            EdgeInferError: what the child raised.
            ModelFileError: if it died or hung.
        """
        stream = self._child.process.stdin
        assert stream is not None
        try:
            stream.write(json.dumps(dict(command)).encode() + b"\n")
            stream.flush()
        except OSError as error:
            raise self._dead() from error
        while True:
            answer: dict[str, Any] = json.loads(self._line())
            if "say" in answer:
                self._say(answer["say"])
            elif "error" in answer:
                raise _raised(answer["error"], answer["text"])
            else:
                return answer

    def _line(self) -> bytes:
        stream = self._child.process.stdout
        assert stream is not None
        while b"\n" not in self._rest:
            if not select.select([stream], [], [], _TIMEOUT_S)[0]:
                self.close()
                raise ModelFileError(
                    f"PyTorch did not answer for {_TIMEOUT_S / 60:.0f} minutes and was ended: the "
                    f"model never finishes, or this box is too small for it."
                )
            data = os.read(stream.fileno(), 1 << 20)
            if not data:
                raise self._dead()
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _dead(self) -> ModelFileError:
        try:
            self._child.process.wait(timeout=_LAST_S)
        except subprocess.TimeoutExpired:  # it closed the pipe and lives on
            self._child.process.kill()
            self._child.process.wait()
        self._listener.join(timeout=5)
        code = self._child.process.returncode
        how = f"with exit code {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += " (mostly: out of memory)"
        last = next((line for line in reversed(self._said) if line), "no message")
        return ModelFileError(
            f"The process that ran PyTorch was ended {how}: {last[:300]}. The model is damaged or "
            f"too big for this box, or its code ends the process."
        )

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._child.close()


def _raised(kind: str, text: str) -> EdgeInferError:
    found = getattr(errors, kind, ModelFileError)
    return found(text) if issubclass(found, EdgeInferError) else ModelFileError(text)
